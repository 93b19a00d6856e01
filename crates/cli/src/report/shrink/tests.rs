//! Laws of the report: everything is said, nothing breaks the page, what is not there is not mentioned.

use serde_json::Value;

use super::{comparison, explanations, fixtures, pages, words};
use crate::ledger::metric;
use crate::ledger::quality::Interval;
use crate::ledger::shrink::Shrunk;

fn page(shrunk: &Shrunk, name: &str) -> String {
    let pages = pages(shrunk).unwrap();
    pages.into_iter().find(|(found, _)| found == name).unwrap().1
}

fn html(shrunk: &Shrunk) -> String {
    page(shrunk, "report.html")
}

fn all() -> [Shrunk; 5] {
    [
        fixtures::images(),
        fixtures::values(),
        fixtures::unlabeled(),
        fixtures::hostile(),
        fixtures::untargeted(),
    ]
}

/// Text between tags, of the body alone.
fn visible(html: &str) -> String {
    let body = html.split("<body>").nth(1).unwrap();
    let mut text = String::new();
    let mut is_tag = false;
    for letter in body.chars() {
        match letter {
            '<' => is_tag = true,
            '>' => is_tag = false,
            _ if !is_tag => text.push(letter),
            _ => {}
        }
    }
    text
}

/// Fails where tags do not nest, attributes are not quoted, or a bare & or < stands in the text.
fn check_nesting(xml: &str) -> Result<(), String> {
    const VOID: [&str; 3] = ["meta", "img", "br"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find('<') {
        check_text(&rest[..start])?;
        let mut is_quoted = false;
        let end = rest[start..].find(|c| {
            is_quoted ^= c == '"';
            c == '>' && !is_quoted
        });
        let tag = &rest[start + 1..start + end.ok_or("a tag without an end")?];
        rest = &rest[start + tag.len() + 2..];
        if tag.contains('<') {
            return Err(format!("< within <{tag}>"));
        }
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes nothing"));
            }
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
        tag.split('"').skip(1).step_by(2).try_for_each(check_text)?;
    }
    if open.is_empty() { check_text(rest) } else { Err(format!("left open: {open:?}")) }
}

fn check_text(text: &str) -> Result<(), String> {
    let bare = text.split('&').skip(1).find(|after| {
        !["amp;", "lt;", "gt;", "quot;"].iter().any(|entity| after.starts_with(entity))
    });
    bare.map_or(Ok(()), |after| {
        Err(format!("a bare & before {:?}", after.get(..20).unwrap_or(after)))
    })
}

#[test]
fn the_check_of_nesting_finds_what_is_broken() {
    check_nesting("<p a=\"x > y\">b &amp; <br>c<g/></p>").unwrap();
    for broken in ["<p>", "<p></g></p>", "<p>a & b</p>", "<p a=\"&\"></p>", "<p", "<p a=\"<\"></p>"]
    {
        assert!(check_nesting(broken).is_err(), "{broken}");
    }
}

#[test]
fn every_measure_is_on_the_page_and_explained() {
    for shrunk in all() {
        let text = visible(&html(&shrunk));
        for measure in &shrunk.students[0].quality.measures {
            let metric = measure.metric;
            assert!(text.contains(&words::label(metric)), "{metric}");
            for value in [measure.first, measure.second] {
                assert!(text.contains(&words::value(metric, value)), "{metric} {value}");
            }
            let change = words::change(metric, measure.difference);
            assert!(text.contains(&change.value) && text.contains(&change.interval), "{metric}");
            assert!(text.contains(&format!("{}: ", words::label(metric))), "{metric}");
            assert!(explanations::meaning(metric).is_some(), "{metric} is not explained");
        }
        for size in &shrunk.sizes {
            assert!(
                text.contains(&words::count(size.before))
                    && text.contains(&words::count(size.after))
            );
        }
    }
}

#[test]
fn pages_nest_and_names_are_escaped() {
    for shrunk in all() {
        let html = html(&shrunk);
        let body = html.split("<body>").nth(1).unwrap().replace("</body></html>", "");
        check_nesting(&body).unwrap();
        assert!(
            !html.contains("<b>") && !html.contains("<script") && !html.contains("http"),
            "{}",
            shrunk.model
        );
        let n_figures = html.matches("<svg class=\"chart\"").count();
        assert_eq!(n_figures, html.matches("role=\"img\" aria-label=\"").count());
        let svgs = html.split("<svg").skip(1).map(|rest| rest.split("</svg>").next().unwrap());
        svgs.for_each(|svg| check_nesting(&format!("<svg{svg}</svg>")).unwrap());
    }
}

#[test]
fn what_a_run_does_not_have_is_left_out() {
    let has = |shrunk: &Shrunk, title: &str| html(shrunk).contains(&format!("<h2>{title}</h2>"));
    let titles = [
        "Before and after",
        "Size and speed",
        "Other ways to train the student",
        "Can the probabilities be trusted?",
        "Smaller and larger students",
        "Widths by layer",
        "Accuracy by class",
        "Where the two differ most",
        "What was not narrowed, and why",
        "Other seeds",
        "What was understood",
        "How to get this student again",
    ];
    let found = |shrunk: &Shrunk| titles.map(|title| has(shrunk, title));
    assert_eq!(found(&fixtures::images()), [true; 12]);
    let t = true;
    let f = false;
    assert_eq!(found(&fixtures::values()), [t, t, f, f, t, t, f, t, f, f, t, t]);
    assert_eq!(found(&fixtures::unlabeled()), [t, t, f, f, t, t, f, t, t, f, t, t]);
    let mut bare = fixtures::values();
    bare.students[0].quality.measures.clear();
    bare.students[0].quality.disagreements.clear();
    (bare.sizes, bare.front, bare.layers) = (Vec::new(), Vec::new(), Vec::new());
    assert_eq!(found(&bare), [f, f, f, f, f, f, f, f, f, f, t, t]);
}

#[test]
fn the_outcome_is_one_sentence_with_its_interval() {
    let text = visible(&html(&fixtures::images())).replace(['\u{a0}', '\u{202f}'], " ");
    let wanted = "The student has 132 914 of 535 818 parameters (24.8 %) and keeps 87.2 % accuracy of 87.6 % on 10 000 test \
                  examples (change −0.4 points, 95 % interval −0.7 to −0.1).";
    assert!(text.contains(wanted), "{text}");
    let text = visible(&html(&fixtures::unlabeled())).replace(['\u{a0}', '\u{202f}'], " ");
    let wanted = "predicts the same class as the network on 94.7 % of 600 test examples (95 % interval 92.9 % to 96.5 %).";
    assert!(text.contains(wanted), "{text}");
    let text = visible(&html(&fixtures::values())).replace(['\u{a0}', '\u{202f}'], " ");
    let wanted = "has R² 0.8051 instead of 0.8123 on 4 128 test examples (change −0.0072, 95 % interval −0.0109 to −0.0035).";
    assert!(text.contains(wanted), "{text}");
}

#[test]
fn a_distance_from_the_network_is_not_called_a_change() {
    let text = visible(&html(&fixtures::untargeted())).replace(['\u{a0}', '\u{202f}'], " ");
    let wanted = "and predicts at a mean squared distance of 0.0213 from the network on 4 128 test examples (95 % interval \
                  0.0195 to 0.0231).";
    assert!(text.contains(wanted), "{text}");
}

#[test]
fn a_student_from_scratch_is_better_worse_or_neither() {
    let mut shrunk = fixtures::images();
    for (difference, wanted) in [
        ((-0.02, -0.03, -0.01), "is worse than the chosen one"),
        ((0.02, 0.01, 0.03), "is better than the chosen one"),
        ((-0.02, -0.05, 0.01), "is not significantly better or worse"),
    ] {
        let (value, low, high) = difference;
        shrunk.students[1].beside_chosen = Some(Interval { value, low, high });
        let text = visible(&html(&shrunk));
        assert!(text.contains(wanted), "{wanted}");
        let excludes = if low * high > 0.0 { "excludes 0" } else { "includes 0" };
        assert!(text.contains(excludes), "{wanted}");
    }
}

#[test]
fn what_is_not_finite_is_a_word_and_explained() {
    let mut shrunk = fixtures::images();
    let quality = &mut shrunk.students[0].quality;
    quality.measures[1].second = f64::INFINITY;
    quality.measures[1].difference =
        Interval { value: f64::INFINITY, low: f64::NAN, high: f64::INFINITY };
    quality.classes[2].first = f64::NAN;
    quality.disagreements[0].distance = f64::INFINITY;
    quality.reliability[0][0].confidence = f64::NAN;
    shrunk.front[0].nats = f64::INFINITY;
    shrunk.front[1].change = Interval { value: -0.3, low: f64::NEG_INFINITY, high: 0.0 };
    shrunk.layers[0].measured = Some(f64::NAN);
    let html = html(&shrunk);
    let text = visible(&html);
    for word in ["NaN", " inf ", "not finite,"] {
        assert!(!text.contains(word), "{word}");
    }
    assert!(!html.contains("NaN") && !html.contains("\"inf"));
    assert!(text.contains("infinite") && text.contains(words::NOT_FINITE));
    assert!(text.contains("Without 1\u{a0}size, whose value is not finite."));

    let json: Value = serde_json::from_str(&page(&shrunk, "report.json")).unwrap();
    let measure = &json["students"][0]["quality"]["measures"][1];
    assert_eq!((&measure["second"], &measure["difference"]["low"]), (&"inf".into(), &"nan".into()));
    assert_eq!(json["front"][1]["change"]["low"], "-inf");
    assert!(page(&shrunk, "front.csv").lines().nth(1).unwrap().contains(",inf,"));
}

#[test]
fn json_holds_the_same_numbers_and_names() {
    for shrunk in all() {
        let json: Value = serde_json::from_str(&page(&shrunk, "report.json")).unwrap();
        assert_eq!(json["model"], shrunk.model);
        assert_eq!(json["latency"].is_null(), shrunk.latency.is_none());
        for (found, point) in json["front"].as_array().unwrap().iter().zip(&shrunk.front) {
            assert_eq!(found["change"]["low"].as_f64(), Some(point.change.low));
            assert_eq!(found["nats"].as_f64(), Some(point.nats));
            assert_eq!(found["widths"][0].as_u64(), Some(point.widths[0] as u64));
        }
        let measures = &json["students"][0]["quality"]["measures"];
        for (found, measure) in
            measures.as_array().unwrap().iter().zip(&shrunk.students[0].quality.measures)
        {
            assert_eq!(found["metric"], measure.metric.name);
            assert_eq!(found["second"].as_f64(), Some(measure.second));
        }
        // All but the pixels is what serde writes of the run itself.
        let mut whole = serde_json::to_value(&shrunk).unwrap();
        let students = whole["students"].as_array_mut().unwrap();
        for example in
            students.iter_mut().flat_map(|s| s["quality"]["disagreements"].as_array_mut().unwrap())
        {
            if !example["image"].is_null() {
                example["image"]["intensities"] = Value::Array(Vec::new());
            }
        }
        assert_eq!(json, whole);
    }
}

#[test]
fn the_front_is_one_line_a_point_and_one_column_a_width() {
    for shrunk in all() {
        let text = page(&shrunk, "front.csv");
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let head: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let first = ["parameters", "multiply_adds", "change", "change_low", "change_high", "nats"];
        let widths = shrunk.layers.iter().map(|layer| format!("width of {}", layer.name));
        let wanted: Vec<String> = first
            .map(str::to_owned)
            .into_iter()
            .chain(widths)
            .chain(["chosen".to_owned()])
            .collect();
        assert_eq!(head, wanted);
        let records: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
        assert_eq!(records.len(), shrunk.front.len());
        for (record, point) in records.iter().zip(&shrunk.front) {
            assert_eq!(record[3].parse::<f64>().unwrap(), point.change.low);
            assert_eq!(record[6].parse::<usize>().unwrap(), point.widths[0]);
            assert_eq!(&record[record.len() - 1] == "true", point.is_chosen);
        }
    }
    let mut wrong = fixtures::images();
    wrong.front[3].widths.pop();
    assert!(pages(&wrong).is_err());
}

#[test]
fn a_run_without_a_chosen_student_has_no_report() {
    let mut shrunk = fixtures::values();
    shrunk.students[0].is_chosen = false;
    assert_eq!(pages(&shrunk).unwrap_err().to_string(), "no student is marked as the chosen one");
}

#[test]
fn the_sentence_on_accuracies_warns_where_no_difference_was_found() {
    let mut shrunk = fixtures::images();
    let quality = &mut shrunk.students[0].quality;
    for (p, wanted) in [(0.4, "No significant difference"), (0.01, "The difference is significant")]
    {
        quality.mc_nemar.as_mut().unwrap().p = p;
        let blocks = comparison::before_and_after(quality, quality.main_measure());
        assert_eq!(quality.main_measure().unwrap().metric, metric::ACCURACY);
        let is_said = blocks.iter().any(|block| match block {
            crate::report::blocks::Block::Paragraph(text) => text.contains(wanted),
            _ => false,
        });
        assert!(is_said, "{wanted}");
    }
}

#[test]
fn numbers_have_sensible_digits() {
    let interval = |value, low, high| Interval { value, low, high };
    let words = |metric, i| {
        let change = words::change(metric, i);
        format!("{} [{}]", change.value, change.interval).replace('\u{a0}', " ")
    };
    assert_eq!(
        words(metric::ACCURACY, interval(-0.0039, -0.007, -0.0008)),
        "−0.39 points [−0.70 to −0.08]"
    );
    assert_eq!(words(metric::ACCURACY, interval(0.0, 0.0, 0.0)), "0.00 points [0.00 to 0.00]");
    assert_eq!(
        words(metric::ACCURACY, interval(-0.000012, -0.00003, 0.0)),
        "−0.0012 points [−0.0030 to 0.0000]"
    );
    assert_eq!(
        words(metric::CROSS_ENTROPY, interval(0.01, -0.002, 3e-7)),
        "+0.0100 [−0.0020 to 0.0000]"
    );
    assert_eq!(
        words(metric::CROSS_ENTROPY, interval(2e-7, -1e-7, 3e-7)),
        "+0.00000020 [−0.00000010 to +0.00000030]"
    );
    assert_eq!(
        words(metric::SQUARED_ERROR, interval(1234.56, -1.0, 2000.0)),
        "+1234.6 [−1.0 to +2000.0]"
    );
    for (value, text) in [
        (0.0, "0"),
        (1234.4, "1 234.4"),
        (-1e6, "−1 000 000"),
        (999.0, "999"),
        (100000.0, "100 000"),
    ] {
        assert_eq!(words::count(value).replace('\u{202f}', " "), text);
    }
    for (value, text) in [
        (0.0, "0"),
        (1234.4, "1234"),
        (4.213, "4.21"),
        (0.001234, "0.00123"),
        (-1.3e-12, "−1.3e−12"),
        (1e-6, "1e−6"),
    ] {
        assert_eq!(words::significant(value), text);
    }
    assert_eq!(words::value(metric::CROSS_ENTROPY, 0.0000123), "0.0000123");
    let ratio = |after| words::ratio(4.0, after, "smaller", "larger");
    assert_eq!(ratio(1.0), ["25.0\u{a0}%", "4.0 times smaller"]);
    assert_eq!((ratio(4.0), ratio(0.0)), (vec!["100.0\u{a0}%".to_owned()], vec!["–".to_owned()]));
    let sentences = ["the end", "fc.weight stays", "stage1: done!", "a 5 %"].map(words::sentence);
    assert_eq!(sentences, ["The end.", "fc.weight stays.", "stage1: done!", "A 5\u{a0}%."]);
}

/// Writes the example pages into the folder of this variable, for readers.
#[test]
fn example_pages_are_written_where_asked() {
    let Ok(folder) = std::env::var("REPORT_EXAMPLES") else { return };
    for (name, shrunk) in
        ["images", "values", "unlabeled", "hostile", "untargeted"].iter().zip(all())
    {
        for (file, text) in pages(&shrunk).unwrap() {
            let folder = std::path::Path::new(&folder).join(name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(file), text).unwrap();
        }
    }
}
