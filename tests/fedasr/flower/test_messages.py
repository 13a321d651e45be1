"""Messages that are built outside Flower's own processes."""

from __future__ import annotations

from flwr.app import ConfigRecord, Message, RecordDict

from fedasr.flower.messages import assume_identity, empty_run, message_with, set_message_id, set_source


def test_an_instruction_can_be_built_and_its_id_reaches_the_reply() -> None:
    assume_identity()
    message = Message(RecordDict({"config": ConfigRecord({"round": 3})}), 5, "train", group_id="1")
    assert (message.metadata.run_id, message.metadata.src_node_id, message.metadata.dst_node_id) == (1, 1, 5)
    set_message_id(message, "17")
    assert message.metadata.message_id == "17"
    reply = Message(RecordDict(), reply_to=message)
    assert reply.metadata.reply_to_message_id == "17"
    assert (reply.metadata.src_node_id, reply.metadata.dst_node_id) == (5, 1)
    set_source(reply, 9)
    assert reply.metadata.src_node_id == 9
    again = message_with(message.metadata, message.content)
    assert again.metadata == message.metadata
    assert again.content is message.content
    assert empty_run(9).run_id == 9


def test_another_identity() -> None:
    try:
        assume_identity(run_id=3, node_id=2)
        metadata = Message(RecordDict(), 5, "train").metadata
        assert (metadata.run_id, metadata.src_node_id) == (3, 2)
    finally:
        assume_identity()
