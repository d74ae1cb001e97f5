"""Print the JSON Schema: `python -m mlp_core.config > mlp_core/config/schema.json`."""

import json

from mlp_core.config.schema import json_schema

if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
