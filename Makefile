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
	pytest -n 2

test-thorough:
	pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

test-slow:
	pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow

docs:
	mkdocs build --strict --site-dir build/site

ci:
	bash .ci/run
