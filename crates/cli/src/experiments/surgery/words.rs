//! Tables of claims, rows and figures of surgery said in short.

/// Lines of a table: a title, and the rows of its cells.
pub(super) type Lines = &'static [(&'static str, &'static [&'static str])];

/// What two programs may differ by on the same network.
pub(super) const SAME: f64 = 0.003;

/// Ten-thousandths as a share.
pub(super) const fn share(n: u32) -> f64 {
    n as f64 / 10_000.0
}

/// Accuracy below that of the teacher, both in ten-thousandths.
pub(super) const fn lost(teacher: u32, accuracy: u32) -> f64 {
    (teacher as f64 - accuracy as f64) / 10_000.0
}

/// Numbers of other programs at several sizes, beside a row of ours.
macro_rules! published {
    ($end:literal; $($size:literal $accuracy:literal),* $(; $other:literal; $($at:literal $value:literal),*)*) => {
        &[
            $(Published::plain(concat!($size, "/", $end), metric::ACCURACY, share($accuracy)),)*
            $($(Published::plain(concat!($at, "/", $other), metric::ACCURACY, share($value)),)*)*
        ]
    };
}

/// A way of ours is better than other programs' accuracies at several sizes, and than our own form of what they do.
macro_rules! ahead {
    ($end:literal, $other:literal, $teacher:expr; $($size:literal $accuracy:literal),*) => {
        &[
            $(Check::better(metric::ACCURACY, concat!($size, "/", $end), concat!($size, "/", $other)),)*
            $(Check::better_than(metric::ACCURACY_LOST, concat!($size, "/", $end), lost($teacher, $accuracy)),)*
        ]
    };
}

/// A way of ours is not worse than a number of the same networks.
macro_rules! reached {
    ($($row:literal $accuracy:literal),*) => {
        &[$(Check::reaches(metric::ACCURACY, $row, share($accuracy), SAME),)*]
    };
}

/// Rows of one run: every member of every family, as `[members] families` and more of these behind a semicolon.
macro_rules! singles {
    (@ [$($done:expr,)*] $members:tt) => { &[$($done,)*] };
    (@ [$($done:expr,)*] $members:tt; $next:tt $($rest:tt)*) => {
        singles!(@ [$($done,)*] $next $($rest)*)
    };
    (
        @ [$($done:expr,)*] [$($end:literal $title:literal;)*]
        ($id:literal $name:literal) $($rest:tt)*
    ) => {
        singles!(
            @ [$($done,)* $(RowSpec::single(concat!($id, "/", $end), concat!($name, $title)),)*]
            [$($end $title;)*] $($rest)*
        )
    };
    ($($rest:tt)*) => { singles!(@ [] $($rest)*) };
}

/// Lines of a table: titles, and the ends of names of rows at every size.
macro_rules! lines {
    ($sizes:tt; $($end:literal $title:literal),* $(,)?) => { &[$(($title, names!($sizes [$end])),)*] };
}
