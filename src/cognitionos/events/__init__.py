"""Every fact that one context tells the others, grouped by the context that publishes it."""
