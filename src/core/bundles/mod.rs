//! Bundles: directories that are swapped atomically and kept until their last reader is gone.
