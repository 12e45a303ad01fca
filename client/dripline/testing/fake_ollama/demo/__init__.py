"""What the demo models make up: values that fit a JSON schema."""
