//! Rules against numbers of several batches, against loops over every place, and against cases by hand.

use core_tensors::Rng;

use super::*;
use crate::graph::{SliceRange, Window};

/// N examples.
const N: Dimension = Dimension::BATCH;

fn n(fixed: i64) -> Dimension {
    Dimension::known(fixed)
}

fn dim(per_example: i64, fixed: i64) -> Dimension {
    Dimension { fixed, per_example }
}

fn known(extents: &[i64]) -> Vec<Dimension> {
    extents.iter().map(|&extent| n(extent)).collect()
}

/// The extents for m examples.
fn at(shape: &[Dimension], m: usize) -> Vec<i64> {
    shape.iter().map(|d| d.of_batch(m).unwrap()).collect()
}

fn small_dimensions() -> Vec<Dimension> {
    (-4..=4).flat_map(|a| (-3..=3).map(move |b| dim(b, a))).collect()
}

#[test]
fn comparisons_hold_for_every_batch() {
    for &a in &small_dimensions() {
        for &b in &small_dimensions() {
            let holds = |f: fn(i64, i64) -> bool| {
                (1..30).all(|m| f(a.of_batch(m).unwrap(), b.of_batch(m).unwrap()))
            };
            assert_eq!(a.is_at_least(b), holds(|a, b| a >= b), "{a:?} ≥ {b:?}");
            assert_eq!(a.is_above(b), holds(|a, b| a > b), "{a:?} > {b:?}");
            assert_eq!(a.is_never(b), holds(|a, b| a != b), "{a:?} ≠ {b:?}");
        }
    }
    let [low, high] = [dim(i64::MIN, i64::MIN), dim(i64::MAX, i64::MAX)];
    assert!(high.is_above(low) && low.is_never(high) && !low.is_at_least(high));
}

#[test]
fn axes_count_from_both_ends() {
    assert_eq!(axis(0, 3).unwrap(), 0);
    assert_eq!(axis(-1, 3).unwrap(), 2);
    assert_eq!(axis(-3, 3).unwrap(), 0);
    for (wrong, rank) in [(3, 3), (-4, 3), (0, 0), (-1, 0), (i64::MIN, 3), (i64::MAX, 3)] {
        assert!(axis(wrong, rank).is_err());
    }
    let text = axis(3, 3).unwrap_err().to_string();
    assert_eq!(text, "an axis: expected −3 ≤ axis < 3, found 3");
}

#[test]
fn broadcasting_is_that_of_numpy() {
    let b = |shapes: &[&[Dimension]]| broadcast(shapes).ok();
    assert_eq!(b(&[&known(&[2, 1]), &known(&[3])]), Some(known(&[2, 3])));
    assert_eq!(b(&[&[N, n(1)], &[n(4)]]), Some(vec![N, n(4)]));
    assert_eq!(b(&[&[n(1)], &[N], &[n(5), n(1)]]), Some(vec![n(5), N]));
    assert_eq!(b(&[&[], &[N]]), Some(vec![N]));
    assert_eq!(b(&[]), Some(vec![]));
    assert_eq!(b(&[&[n(0)], &[n(1)]]), Some(vec![n(0)]));
    assert_eq!(b(&[&[n(0)], &[n(2)]]), None);
    assert_eq!(b(&[&[N], &[n(4)]]), None);
    assert_eq!(b(&[&[N], &[dim(2, 0)]]), None);
    let text = broadcast(&[&[N], &[n(4)]]).unwrap_err().to_string();
    assert_eq!(text, "expected shapes that broadcast: found shapes [N] and [4]");
    assert!(fits(&[n(1), N], &[n(7), n(3), N]) && !fits(&[n(1), N], &[N]));
    assert!(!fits(&[N], &[n(1)]));
}

#[test]
fn reshapes_by_hand() {
    let r = |shape: &[Dimension], target: &[Dimension]| reshape_target(shape, target, false).ok();
    let image = [N, n(3), n(4), n(5)];
    assert_eq!(r(&image, &known(&[0, -1])), Some(vec![N, n(60)]));
    assert_eq!(r(&image, &known(&[-1, 60])), Some(vec![N, n(60)]));
    assert_eq!(r(&image, &known(&[-1])), Some(vec![dim(60, 0)]));
    assert_eq!(r(&image, &known(&[-1, 3])), Some(vec![dim(20, 0), n(3)]));
    assert_eq!(r(&image, &[N, n(-1)]), Some(vec![N, n(60)]));
    assert_eq!(r(&image, &[dim(3, 0), n(4), n(5)]), Some(vec![dim(3, 0), n(4), n(5)]));
    assert_eq!(r(&image, &known(&[-1, 0, 20])), Some(vec![N, n(3), n(20)]));
    assert_eq!(r(&[dim(4, 4), n(3)], &[dim(1, 1), n(-1)]), Some(vec![dim(1, 1), n(12)]));
    assert_eq!(r(&[N, N, n(6)], &[n(-1), n(2), N]), Some(vec![dim(3, 0), n(2), N]));
    assert_eq!(r(&[], &known(&[1, -1])), Some(known(&[1, 1])));
    assert_eq!(r(&known(&[0, 3]), &known(&[0, -1])), None);
    assert_eq!(reshape_target(&known(&[0, 3]), &known(&[3, 0]), true).ok(), Some(known(&[3, 0])));
    assert_eq!(r(&known(&[0, 3]), &known(&[-1, 7])), Some(known(&[0, 7])));
    let fails = |shape: &[Dimension], target: &[Dimension]| {
        reshape_target(shape, target, false).unwrap_err().to_string()
    };
    assert_eq!(
        fails(&image, &known(&[7, -1])),
        "expected a target of as many entries: found shapes [N, 3, 4, 5] and [7, -1]"
    );
    assert!(fails(&image, &known(&[-1, -1])).contains("at most one −1"));
    assert!(fails(&image, &known(&[-2])).contains("−1, 0 or more"));
    assert!(fails(&known(&[2]), &known(&[2, 0])).contains("an axis of the operand"));
    assert!(fails(&[N, N], &known(&[-1])).contains("linear function"));
    assert!(matches!(
        reshape_target(&known(&[i64::MAX, 3]), &known(&[-1]), false),
        Err(Problem::TooLarge)
    ));
}

#[test]
fn products_are_equal_where_all_their_numbers_are() {
    let mut rng = Rng::new(1);
    let all = small_dimensions();
    let draw = |rng: &mut Rng| -> Vec<Dimension> {
        (0..1 + rng.below(3)).map(|_| all[rng.below(all.len())]).collect()
    };
    let number = |shape: &[Dimension], m: usize| at(shape, m).iter().product::<i64>();
    for _ in 0..20_000 {
        let (a, b) = (draw(&mut rng), draw(&mut rng));
        let [p, q] = [&a, &b].map(|shape| Product::of(shape).unwrap());
        // Two polynomials of degree 3 that agree in more than 3 numbers agree.
        let is_same = (1..8).all(|m| number(&a, m) == number(&b, m));
        assert_eq!(p == q, is_same, "{a:?} {b:?}");
        if let Some(quotient) = p.divided_by(&q).and_then(|r| r.linear().ok()) {
            for m in 1..8 {
                assert_eq!(quotient.of_batch(m).unwrap() * number(&b, m), number(&a, m));
            }
        }
    }
}

/// A slice as a loop over NumPy's rule.
fn slice_of(extent: i64, start: i64, end: i64, step: i64) -> Vec<i64> {
    let place = |bound: i64| if bound < 0 { bound.saturating_add(extent) } else { bound };
    let (least, largest) = if step > 0 { (0, extent) } else { (-1, extent - 1) };
    let mut at = place(start).clamp(if step > 0 { 0 } else { 0.min(largest) }, largest);
    let end = place(end).clamp(least, largest);
    let mut found = Vec::new();
    while (step > 0 && at < end) || (step < 0 && at > end) {
        found.push(at);
        let Some(next) = at.checked_add(step) else { break };
        at = next;
    }
    found
}

fn entries_of(range: &SliceRange, m: usize) -> Vec<i64> {
    let [start, len] = [range.start, range.len].map(|d| d.of_batch(m).unwrap());
    (0..len).map(|j| start + j * range.step).collect()
}

#[test]
fn slices_are_those_of_a_loop() {
    let bounds = [i64::MIN, -7, -3, -2, -1, 0, 1, 2, 3, 6, 9, i64::MAX];
    for extent in 0..6 {
        for start in bounds {
            for end in bounds {
                for step in [i64::MIN, -5, -2, -1, 1, 2, 3, i64::MAX] {
                    let range = slice_range(0, n(extent), n(start), n(end), step).unwrap();
                    let expected = slice_of(extent, start, end, step);
                    assert_eq!(entries_of(&range, 1), expected, "{extent} {start} {end} {step}");
                }
            }
        }
    }
    assert!(slice_range(0, n(3), n(0), n(3), 0).is_err());
}

#[test]
fn slices_of_the_batch_are_those_of_its_number() {
    let bounds = [n(0), n(1), n(-1), n(-2), n(i64::MAX), n(i64::MIN), N, dim(1, -1), dim(2, 0)];
    let mut folded = 0;
    for extent in [N, dim(4, 0), dim(1, 1)] {
        for start in bounds {
            for end in bounds {
                for step in [1, -1, 2, -4] {
                    let Ok(range) = slice_range(1, extent, start, end, step) else { continue };
                    folded += 1;
                    for m in [1, 2, 5] {
                        let [extent, start, end] =
                            [extent, start, end].map(|d| d.of_batch(m).unwrap());
                        let expected = slice_of(extent, start, end, step);
                        assert_eq!(entries_of(&range, m), expected);
                    }
                }
            }
        }
    }
    assert!(folded > 300, "{folded}");
    let whole = slice_range(1, N, n(0), n(i64::MAX), 1).unwrap();
    assert_eq!(whole, SliceRange { axis: 1, start: n(0), step: 1, len: N });
    let but_last = slice_range(1, N, n(0), n(-1), 1).unwrap();
    assert_eq!(but_last.len, dim(1, -1));
    let last = slice_range(1, N, n(-1), n(i64::MAX), 1).unwrap();
    assert_eq!((last.start, last.len), (dim(1, -1), n(1)));
    assert!(matches!(slice_range(1, N, n(3), n(i64::MAX), 1), Err(Problem::NotLinear)));
    assert!(matches!(slice_range(1, N, n(0), n(9), 1), Err(Problem::NotLinear)));
    assert!(matches!(slice_range(1, N, n(0), N, 2), Err(Problem::NotLinear)));
}

#[test]
fn steps_are_counted_one_by_one() {
    for &gap in &small_dimensions() {
        for step in [-3, -2, -1, 1, 2, 3] {
            let Ok(count) = count_steps(gap, step) else { continue };
            for m in 1..9 {
                let gap = gap.of_batch(m).unwrap();
                let is_before = |place: i64| if step > 0 { place < gap } else { place > gap };
                let expected = (0..).take_while(|j| is_before(j * step)).count();
                assert_eq!(count.of_batch(m), Some(expected as i64), "{gap} {step}");
            }
        }
    }
    assert_eq!(count_steps(dim(4, 1), 2).unwrap(), dim(2, 1));
    assert!(matches!(count_steps(N, 2), Err(Problem::NotLinear)));
    assert!(matches!(count_steps(dim(1, -3), 1), Err(Problem::NotLinear)));
    assert_eq!(count_steps(n(i64::MIN), i64::MIN).unwrap(), n(1));
    assert_eq!(count_steps(n(i64::MAX), 1).unwrap(), n(i64::MAX));
}

fn window(k: usize, s: usize, d: usize, pads: [usize; 2], ceil: bool) -> Window {
    Window {
        kernel: [1, k],
        strides: [1, s],
        dilations: [1, d],
        pads: [0, pads[0], 0, pads[1]],
        ceil,
    }
}

#[test]
fn windows_are_counted_one_by_one() {
    for (k, s, d) in (1..5).flat_map(|k| (1..5).flat_map(move |s| (1..3).map(move |d| (k, s, d)))) {
        for (h, before, behind) in
            (1..9).flat_map(|h| (0..3).flat_map(move |p| (0..3).map(move |q| (h, p, q))))
        {
            let padded = h + before + behind;
            let reach = d * (k - 1) + 1;
            let floor = output_extent(&window(k, s, d, [before, behind], false), 1, h).ok();
            let ceil = output_extent(&window(k, s, d, [before, behind], true), 1, h).ok();
            if reach > padded {
                assert_eq!((floor, ceil), (None, None));
                continue;
            }
            // Otherwise whole windows lie behind the input.
            if behind >= reach {
                continue;
            }
            let whole = (0..padded).step_by(s).filter(|start| start + reach <= padded).count();
            assert_eq!(floor, Some(whole));
            // One more counts if the whole ones leave entries over, and it starts before the padding behind.
            let next = whole * s;
            let counts = (whole - 1) * s + reach < padded && next < h + before;
            assert_eq!(
                ceil,
                Some(whole + usize::from(counts)),
                "{k} {s} {d} {h} {before} {behind}"
            );
        }
    }
}

#[test]
fn same_pads_keep_the_extent_over_the_stride() {
    for (k, s, d, h) in [(3, 1, 1, 7), (3, 2, 1, 8), (2, 1, 1, 5), (5, 3, 1, 10), (3, 2, 2, 9)] {
        for is_lower in [false, true] {
            let mut window = window(k, s, d, [0, 0], false);
            window.pads = same_pads(&window, [1, h], is_lower).unwrap();
            let [top, before, bottom, behind] = window.pads;
            assert_eq!((top, bottom), (0, 0));
            assert_eq!(output_extent(&window, 1, h).unwrap(), h.div_ceil(s));
            assert!(if is_lower { before >= behind } else { behind >= before });
            assert!(before.abs_diff(behind) <= 1);
        }
    }
    assert_eq!(same_pads(&window(2, 1, 1, [0, 0], false), [1, 4], true).unwrap(), [0, 1, 0, 0]);
    assert_eq!(same_pads(&window(1, 3, 1, [0, 0], false), [1, 9], false).unwrap(), [0; 4]);
}

#[test]
fn windows_that_do_not_fit_are_refused() {
    let text = output_extent(&window(5, 1, 1, [1, 0], false), 1, 3).unwrap_err().to_string();
    assert_eq!(text, "the extent of a window: expected at most the padded input's 4, found 5");
    for wrong in [window(0, 1, 1, [0; 2], false), window(1, 0, 1, [0; 2], false)] {
        assert!(output_extent(&wrong, 1, 3).is_err() && same_pads(&wrong, [1, 3], false).is_err());
    }
    assert!(output_extent(&window(1, 1, 0, [0; 2], false), 1, 3).is_err());
    let huge = usize::MAX;
    for wrong in [window(huge, 1, huge, [0; 2], false), window(3, 1, 1, [huge, 1], false)] {
        assert!(matches!(output_extent(&wrong, 1, 3), Err(Problem::TooLarge)));
    }
    assert_eq!(output_extent(&window(1, huge, 1, [0; 2], true), 1, huge).unwrap(), 1);
    assert!(same_pads(&window(2, huge, 1, [0; 2], false), [1, huge], false).is_ok());
    let beyond = same_pads(&window(2, 1, huge, [0; 2], false), [1, huge], false);
    assert!(matches!(beyond, Err(Problem::TooLarge)));
}

#[test]
fn sums_and_products_say_why_they_fail() {
    assert_eq!(sum(N, n(1)).unwrap(), dim(1, 1));
    assert_eq!(difference(N, n(1)).unwrap(), dim(1, -1));
    assert_eq!(product(N, n(4)).unwrap(), dim(4, 0));
    assert!(matches!(product(N, N), Err(Problem::NotLinear)));
    assert!(matches!(product(n(i64::MAX), n(2)), Err(Problem::TooLarge)));
    assert!(matches!(sum(n(i64::MAX), n(1)), Err(Problem::TooLarge)));
    assert!(matches!(difference(n(i64::MIN), n(1)), Err(Problem::TooLarge)));
}
