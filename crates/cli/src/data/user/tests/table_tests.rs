//! Tables with chosen columns, missing values, names of classes and several targets.

use super::super::csv::read;
use super::super::{Purpose, Read, Targets};
use crate::data::user::options::{Impute, Options};

const TABLE: &str = "id,color,width,height,label\n\
                     7,red,1.5,2,cat\n\
                     8,blue,,4,dog\n\
                     9,red,2.5,?,ant\n";

fn options(drop: &str, features: &str, target: &str) -> Options {
    let some = |word: &str| (!word.is_empty()).then(|| word.to_owned());
    let (drop, features, target) = (some(drop), some(features), some(target));
    Options { drop, features, target, impute: Some(Impute::Mean), ..Options::default() }
}

fn table(text: &str, options: &Options) -> Read {
    read(text, options, Purpose::Network, None).unwrap()
}

fn told(text: &str, options: &Options) -> String {
    match read(text, options, Purpose::Network, None) {
        Err(error) => format!("{error:#}"),
        Ok(_) => panic!("it was read"),
    }
}

#[test]
fn features_are_chosen_in_order_and_missing_ones_filled_in() {
    for (options, wanted) in [
        (options("id,color", "", ""), [[1.5, 2.0], [2.0, 4.0], [2.5, 3.0]]),
        (options("", "height,width", "label"), [[2.0, 1.5], [4.0, 2.0], [3.0, 2.5]]),
    ] {
        let found = table(TABLE, &options);
        assert_eq!(found.x.to_vec2::<f64>().unwrap(), wanted);
        let Some(Targets::Named(named)) = &found.y else { panic!("no names") };
        assert_eq!(
            (&named.names[..], &named.classes),
            (&["ant", "cat", "dog"].map(str::to_owned)[..], &vec![1, 2, 0])
        );
        let said = found.notices.join("\n");
        assert!(said.contains("2 missing values in 2 columns"), "{said}");
    }
    let mut refusing = options("1,2", "", "");
    refusing.impute = None;
    let told = told(TABLE, &refusing);
    assert!(
        told.contains("line 3, column 3 (`width`)") && told.contains("--impute mean"),
        "{told}"
    );
}

#[test]
fn cells_that_cannot_be_read_say_where_and_what_to_do() {
    for (text, options, parts) in [
        (
            TABLE,
            options("id", "", ""),
            &["line 2, column 2 (`color`)", "--drop leaves a column out"][..],
        ),
        (
            "species,a,b\nelk,1,2\n",
            options("", "", ""),
            &[
                "line 2, column 1 (`species`)",
                "--target species takes this column as the target, --drop species",
            ],
        ),
        (
            "a,b,y\n1,2,0\n1,,0\n",
            options("", "", "b"),
            &["line 3, column 2 (`b`)", "missing is not filled in"],
        ),
        ("a,b,y\n?,2,0\n,3,1\n", options("", "", ""), &["column 1 (`a`): every value is missing"]),
        (
            "a,y\n1,cat\n2,3\n",
            options("", "", ""),
            &["line 2, column 2 (`y`)", "or names in every line"],
        ),
        (
            "a,y\n1,cat\n2,\n",
            options("", "", ""),
            &["line 3, column 2 (`y`)", "expected a class, found an empty cell"],
        ),
    ] {
        let told = told(text, &options);
        for part in parts {
            assert!(told.contains(part) && !told.contains('\n'), "{text}: {told}");
        }
    }
    let mut options = options("id,color", "", "");
    options.classes = vec!["cat".into(), "dog".into()];
    let told = told(TABLE, &options);
    assert!(told.contains("line 4, column 5 (`label`)") && told.contains("found `ant`"), "{told}");
}

#[test]
fn several_targets_are_those_of_several_outputs() {
    let text = "a;b;c;d\n1;2,5;3;4\n5;6,5;7;8\n";
    let found = table(text, &options("", "", "d,2"));
    assert_eq!(found.x.to_vec2::<f64>().unwrap(), [[1.0, 3.0], [5.0, 7.0]]);
    let Some(Targets::Numbers { values, k: 2 }) = found.y else { panic!("no values") };
    assert_eq!(values, [4.0, 2.5, 8.0, 6.5]);
    let words = "a,b,c\n1,x,y\n";
    assert!(told(words, &options("", "", "b,c")).contains("line 2, column 2 (`b`)"));
}

#[test]
fn an_index_column_may_be_dropped() {
    let text = ",a,y\n0,1.5,1\n1,2.5,0\n";
    assert!(told(text, &options("", "", "")).contains("leave it out by --drop ''"));
    assert_eq!(table(text, &options("1", "", "")).x.to_vec2::<f64>().unwrap(), [[1.5], [2.5]]);
    let default_names = ",0,1\n0,1.5,1\n1,2.5,0\n";
    assert!(told(default_names, &options("", "", "")).contains("--drop ''"));
    let mut dropping = options("", "", "");
    dropping.drop = Some(String::new());
    let found = table(default_names, &dropping);
    assert_eq!(found.x.to_vec2::<f64>().unwrap(), [[1.5], [2.5]]);
}

#[test]
fn classes_that_are_told_are_in_their_order_whatever_they_look_like() {
    for (text, classes, wanted) in [
        ("a,y\n1,cat\n2,dog\n", "dog,cat", [1, 0]),
        ("a,y\n1,1-2\n2,none\n", "none,1-2", [1, 0]),
        ("a,y\n1,5\n2,3\n", "3,5", [1, 0]),
    ] {
        let mut options = options("", "", "");
        options.classes = classes.split(',').map(str::to_owned).collect();
        let Some(Targets::Named(named)) = table(text, &options).y else { panic!("no names") };
        assert_eq!((&named.classes[..], named.is_told), (&wanted[..], true));
    }
}
