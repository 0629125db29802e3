//! Dockerfile to graph to image.
#![forbid(unsafe_code)]
