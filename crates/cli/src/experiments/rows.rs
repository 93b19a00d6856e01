//! Tables of rows said in short: every member of every family, and what each is compared with.

/// Rows of independent runs, as `[families] {sections}`: each family, a beginning of names and of titles, has every
/// member of every section, an end of both. `against "x"` compares the members of a section with the family's member x,
/// `against_row "x"` with the row x. Other rows may stand before the first such block and behind the last.
macro_rules! rows {
    ([$($families:tt)*] {$($sections:tt)*} $($rest:tt)*) => {
        rows!(@ [] [$($families)*] {$($sections)*} $($rest)*)
    };
    ($($lead:expr),* $(,)?; $($blocks:tt)*) => { rows!(@ [$($lead,)*] $($blocks)*) };
    (@ [$($done:expr,)*] $(; $($last:expr),* $(,)?)?) => { &[$($done,)* $($($last,)*)?] };
    (@ [$($done:expr,)*] [] $sections:tt $($rest:tt)*) => { rows!(@ [$($done,)*] $($rest)*) };
    (@ $done:tt [($id:literal) $($families:tt)*] $($rest:tt)*) => {
        rows!(@ $done [($id, "") $($families)*] $($rest)*)
    };
    (@ $done:tt [($id:literal, $name:literal) $($families:tt)*] $sections:tt $($rest:tt)*) => {
        rows!(@family $id $name $sections $done [$($families)*] $sections $($rest)*)
    };
    (@family $id:literal $name:literal {} $($rest:tt)*) => { rows!(@ $($rest)*) };
    (@family $id:literal $name:literal {against $base:literal $members:tt $($sections:tt)*} $($rest:tt)*) => {
        rows!(@members $id $name [.against(concat!($id, "/", $base))] $members {$($sections)*} $($rest)*)
    };
    (@family $id:literal $name:literal {against_row $row:literal $members:tt $($sections:tt)*} $($rest:tt)*) => {
        rows!(@members $id $name [.against($row)] $members {$($sections)*} $($rest)*)
    };
    (@family $id:literal $name:literal {$members:tt $($sections:tt)*} $($rest:tt)*) => {
        rows!(@members $id $name [] $members {$($sections)*} $($rest)*)
    };
    (
        @members $id:literal $name:literal $against:tt {$($end:expr => $title:expr;)*} $sections:tt
        [$($done:expr,)*] $($rest:tt)*
    ) => {
        rows!(
            @family $id $name $sections
            [$($done,)* $(rows!(@row (concat!($id, "/", $end), concat!($name, $title)) $against),)*]
            $($rest)*
        )
    };
    (@row $said:tt [$($against:tt)*]) => { crate::ledger::RowSpec::seeds $said $($against)* };
}

/// Names of rows: every combination of a beginning and an end.
macro_rules! names {
    ([$($id:literal)*] $ends:tt) => { names!(@ [] [$($id)*] $ends) };
    (@ [$($done:expr,)*] [] $ends:tt) => { &[$($done,)*] };
    (@ [$($done:expr,)*] [$id:literal $($rest:literal)*] [$($end:literal)*]) => {
        names!(@ [$($done,)* $(concat!($id, "/", $end),)*] [$($rest)*] [$($end)*])
    };
}
