.PHONY: lint format test test-thorough test-slow docs ci

lint:
	ruff check .
	ruff format --check .
	mypy
	lint-imports

format:
	ruff check --fix .
	ruff format .

test:
	pytest

test-thorough:
	pytest -m "not slow"

test-slow:
	pytest -m slow

docs:
	mkdocs build --strict --site-dir build/site

ci:
	bash .ci/run
