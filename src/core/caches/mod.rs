//! Caches: stream a tree to a tar.zst and back, staged, verified and committed at once.
