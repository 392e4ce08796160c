"""The broker of a federation: it routes questions and holds one half of the keys; it knows no person and no answer."""
