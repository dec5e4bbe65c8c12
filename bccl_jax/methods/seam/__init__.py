"""What the engine and a method hand each other; `methods.base` has it all by name."""
