//! Settings of an experiment as a table: a name and a type, then its values at smoke, quick and paper scale.

/// The type `Settings`, and the function `settings` of a scale; a value that is not given is that of the scale before.
macro_rules! settings {
    (
        $(
            $(#[$doc:meta])*
            $field:ident: $type:ty = $smoke:expr $(, $quick:expr $(, $paper:expr)?)?;
        )*
    ) => {
        /// What is run at a scale.
        #[derive(Clone, Copy, serde::Serialize)]
        pub(super) struct Settings {
            $($(#[$doc])* pub(super) $field: $type,)*
        }

        pub(super) fn settings(scale: crate::ledger::Scale) -> Settings {
            $(
                let $field: $type = $smoke;
                $(
                    let $field: $type = if scale == crate::ledger::Scale::Smoke { $field } else { $quick };
                    $(let $field: $type = if scale == crate::ledger::Scale::Paper { $paper } else { $field };)?
                )?
            )*
            Settings { $($field),* }
        }
    };
}
