"""The policy: document (schema), compiler, matching of models and tools, engine (findings -> Decision). Pure."""
