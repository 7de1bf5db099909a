"""Evidence as a page to read: one HTML file a release, and one for all models, that need nothing but a browser."""
