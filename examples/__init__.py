"""Programs that use the library, to begin your own with."""
