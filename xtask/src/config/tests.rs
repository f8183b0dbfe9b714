//! Faults of configurations, as text.
