"""The wire: policy.proto, its generated code, and the translation to and from the core's types."""
