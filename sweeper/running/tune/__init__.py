"""The adapters to Ray and Ray Tune."""
