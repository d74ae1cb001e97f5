"""Print what is made from the schema: `python -m mlp_core.config > mlp_core/config/schema.json`, the JSON Schema, and
`python -m mlp_core.config docs > docs/config.md`, the page of all keys."""

import json
import sys

from mlp_core.config.keys import markdown
from mlp_core.config.schema import json_schema

if __name__ == "__main__":
    if sys.argv[1:] == ["docs"]:
        print(markdown(), end="")
    else:
        print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
