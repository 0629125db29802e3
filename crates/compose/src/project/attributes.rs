//! Structs whose fields are attributes of a Compose file.

/// Declares a struct: each attribute may be missing, is left out where it is empty (Go's `omitempty`), and beside them stand
/// extensions, `x-…`.
macro_rules! attributes {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$field_meta:meta])* $field:ident: $kind:ty),* $(,)?
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[allow(missing_docs)] // The specification's own attributes: https://github.com/compose-spec/compose-spec
        pub struct $name {
            $(
                #[serde(default, skip_serializing_if = "crate::project::scalars::Blank::is_blank")]
                $(#[$field_meta])*
                pub $field: $kind,
            )*
            #[serde(default, rename = "#x", skip_serializing_if = "crate::project::scalars::Blank::is_blank")]
            pub extensions: crate::project::scalars::Extensions,
        }
    )*};
}

pub(crate) use attributes;
