"""The typed schema of a run: every key, its meaning, its unit and its bounds.

``docs/configuration.md`` is generated from it, and ``loading.py`` checks a config against it. One section a file.
"""

from fedasr.config.schema.attack import AttackConfig
from fedasr.config.schema.audit import AuditConfig, SecretsConfig
from fedasr.config.schema.client import ClientConfig, TrainingConfig
from fedasr.config.schema.compression import CompressionConfig
from fedasr.config.schema.data import DataConfig
from fedasr.config.schema.devices import DevicesConfig
from fedasr.config.schema.distillation import DistillationConfig, InterleaveConfig
from fedasr.config.schema.evaluate import EstimateConfig, EvaluateConfig
from fedasr.config.schema.features import AugmentConfig, CacheConfig, FeatureConfig
from fedasr.config.schema.keys import section
from fedasr.config.schema.model import ConformerConfig, ModelConfig, SpellerConfig, TransducerConfig
from fedasr.config.schema.partition import PartitionConfig
from fedasr.config.schema.pate import PateConfig, PublicSpeechConfig, StudentConfig
from fedasr.config.schema.privacy import PrivacyConfig
from fedasr.config.schema.root import Config, walk
from fedasr.config.schema.runtime import RuntimeConfig
from fedasr.config.schema.secure_aggregation import SecureAggregationConfig
from fedasr.config.schema.selection import AflConfig, OortConfig, SelectionConfig
from fedasr.config.schema.self_labels import SelfLabelsConfig
from fedasr.config.schema.strategy import StrategyConfig
from fedasr.config.schema.stream import StreamConfig
from fedasr.config.schema.synthetic import SyntheticConfig

__all__ = [
    "AflConfig",
    "AttackConfig",
    "AuditConfig",
    "AugmentConfig",
    "CacheConfig",
    "ClientConfig",
    "CompressionConfig",
    "Config",
    "ConformerConfig",
    "DataConfig",
    "DevicesConfig",
    "DistillationConfig",
    "EstimateConfig",
    "EvaluateConfig",
    "FeatureConfig",
    "InterleaveConfig",
    "ModelConfig",
    "OortConfig",
    "PartitionConfig",
    "PateConfig",
    "PrivacyConfig",
    "PublicSpeechConfig",
    "RuntimeConfig",
    "SecretsConfig",
    "SecureAggregationConfig",
    "SelectionConfig",
    "SelfLabelsConfig",
    "SpellerConfig",
    "StrategyConfig",
    "StreamConfig",
    "StudentConfig",
    "SyntheticConfig",
    "TrainingConfig",
    "TransducerConfig",
    "section",
    "walk",
]
