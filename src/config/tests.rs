//! That nothing is forgotten: every option is a key or is known to be none, and every key is documented.
