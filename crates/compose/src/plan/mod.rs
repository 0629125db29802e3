//! What has to change: containers that are there against the project.
