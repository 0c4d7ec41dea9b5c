"""From a story to a narrated film."""
