/// Declares options once, and generates the Rust struct with its defaults, the validator, the
/// TypeScript interface and the table of docs/options.md.
///
/// `name: Type = default` declares an option, `name: Type` a required one. `groups` includes the
/// options of another struct, with a prefix before their names. `checks conflicts` calls a method
/// of that name, which checks combinations of options.
///
/// ```text
/// options! {
///     /// Options of the feed-forward layer.
///     pub struct FeedForwardOptions {
///         /// Width of the hidden layer, as a multiple of the model's width.
///         mult: f64 = 4.0,
///         /// Gated linear unit. <https://arxiv.org/abs/2002.05202>
///         glu: bool = false,
///     }
///     groups {}
/// }
/// ```
#[macro_export]
macro_rules! options {
    (
        $(#[doc = $struct_doc:literal])*
        pub struct $Name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident : $ty:ty $(= $default:expr)?,
            )*
        }
        groups { $( $prefix:literal $group:ident : $Group:ty, )* }
        $(checks $conflicts:ident)?
    ) => {
        $(#[doc = $struct_doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Name {
            $( $(#[doc = $doc])+ pub $field: $ty, )*
            $( #[doc = concat!("The options whose names start with `", $prefix, "`.")] pub $group: $Group, )*
        }

        impl $crate::Options for $Name {
            const SPEC: $crate::Spec = $crate::Spec {
                doc: &[$($struct_doc),*],
                fields: &[$(
                    $crate::Field {
                        name: stringify!($field),
                        doc: &[$($doc),+],
                        kind: <$ty as $crate::OptionType>::KIND,
                        default: $crate::options!(@default_json $ty $(, $default)?),
                    },
                )*],
                groups: &[$(
                    $crate::Group { prefix: $prefix, spec: &<$Group as $crate::Options>::SPEC },
                )*],
                per_layer: false,
            };

            fn read(
                map: &serde_json::Map<String, serde_json::Value>,
                prefix: &str,
                problems: &mut $crate::Problems,
            ) -> Option<Self> {
                let _ = (map, prefix, &problems);
                $(
                    let $field: Option<$ty> = $crate::field(
                        map,
                        &format!("{prefix}{}", stringify!($field)),
                        $crate::options!(@default_value $($default)?),
                        problems,
                    );
                )*
                $(
                    let $group = <$Group as $crate::Options>::read(map, &format!("{prefix}{}", $prefix), problems);
                )*
                Some(Self { $( $field: $field?, )* $( $group: $group?, )* })
            }

            fn write(&self, prefix: &str, map: &mut serde_json::Map<String, serde_json::Value>) {
                let _ = (prefix, &map);
                $(
                    map.insert(format!("{prefix}{}", stringify!($field)), $crate::OptionType::write(&self.$field));
                )*
                $( $crate::Options::write(&self.$group, &format!("{prefix}{}", $prefix), map); )*
            }

            fn check(&self, prefix: &str, problems: &mut $crate::Problems) {
                $( $crate::Options::check(&self.$group, &format!("{prefix}{}", $prefix), problems); )*
                $( self.$conflicts(prefix, problems); )?
                let _ = (prefix, &problems);
            }
        }
    };
    (@default_json $ty:ty, $default:expr) => {
        Some(|| { let value: $ty = $default; $crate::OptionType::write(&value) })
    };
    (@default_json $ty:ty) => { None };
    (@default_value $default:expr) => { Some($default) };
    (@default_value) => { None };
}
