//! Doing it over the API.
