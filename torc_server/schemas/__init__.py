"""What requests may hold: one module per resource. The OpenAPI models are made from the same classes."""
