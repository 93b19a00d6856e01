//! Tables of rows said in short: every member of every family, and what each is compared with.

/// Rows of independent runs: some that are written out, then blocks in which each family, a beginning of names and of
/// titles, has every member, an end of both; `vs` names the member of the family that one is compared with, `vs_row` a
/// row. Others that are written out may follow.
macro_rules! rows {
    ($($lead:expr),* $(,)?; $($blocks:tt)*) => { rows!(@ [$($lead,)*] $($blocks)*) };
    (@ [$($done:expr,)*] $(; $($last:expr),* $(,)?)?) => { &[$($done,)* $($($last,)*)?] };
    (@ [$($done:expr,)*] [] $members:tt $($rest:tt)*) => { rows!(@ [$($done,)*] $($rest)*) };
    (@ [$($done:expr,)*] [($id:literal) $($families:tt)*] $members:tt $($rest:tt)*) => {
        rows!(@ [$($done,)*] [($id, "") $($families)*] $members $($rest)*)
    };
    (
        @ [$($done:expr,)*] [($id:literal, $name:literal) $($families:tt)*]
        {$($end:expr => $title:expr $(, vs $base:literal)? $(, vs_row $row:expr)?;)*}
        $($rest:tt)*
    ) => {
        rows!(
            @ [$($done,)* $(
                crate::ledger::RowSpec::seeds(concat!($id, "/", $end), concat!($name, $title))
                    $(.against(concat!($id, "/", $base)))? $(.against($row))?,
            )*]
            [$($families)*]
            {$($end => $title $(, vs $base)? $(, vs_row $row)?;)*}
            $($rest)*
        )
    };
}

/// Names of rows: every combination of a beginning and an end.
macro_rules! names {
    ([$($id:literal)*] $ends:tt) => { names!(@ [] [$($id)*] $ends) };
    (@ [$($done:expr,)*] [] $ends:tt) => { &[$($done,)*] };
    (@ [$($done:expr,)*] [$id:literal $($rest:literal)*] [$($end:literal)*]) => {
        names!(@ [$($done,)* $(concat!($id, "/", $end),)*] [$($rest)*] [$($end)*])
    };
}
