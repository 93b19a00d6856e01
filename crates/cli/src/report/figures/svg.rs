//! A drawing as SVG: cells, images, lines and words.

use base64::Engine as _;

use crate::report::markup::escape;

/// Side of a cell of an image of grayscale intensities.
pub(in crate::report) const CELL: usize = 18;
/// Width and height of a cell that holds a number.
pub(in crate::report) const HEAT: (usize, usize) = (58, 26);
/// Size of type of labels.
pub(in crate::report) const FONT: usize = 12;
/// Color of a cell at the best value.
const HOT: [f64; 3] = [110.0, 170.0, 225.0];

/// An image of cells, lines and words.
pub(in crate::report) struct Svg {
    /// Units across.
    pub(in crate::report) width: usize,
    /// Units down.
    pub(in crate::report) height: usize,
    body: String,
}

impl Svg {
    pub(in crate::report) fn new(width: usize, height: usize) -> Self {
        Self { width, height, body: String::new() }
    }

    /// A cell from 0, white, to 1, black; a pointer over it shows the number.
    pub(in crate::report) fn cell(&mut self, x: usize, y: usize, value: f64, description: &str) {
        let grayscale = (255.0 * (1.0 - value.clamp(0.0, 1.0))).round() as u8;
        self.body += &format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{CELL}\" height=\"{CELL}\" fill=\"rgb({grayscale},{grayscale},{grayscale})\" \
             stroke=\"#bbb\" stroke-width=\"0.5\"><title>{}: {value:.3}</title></rect>\n",
            escape(description)
        );
    }

    /// A cell from 0, white, to 1, blue; the best has a frame.
    pub(in crate::report) fn heat(
        &mut self,
        x: usize,
        y: usize,
        share: f64,
        is_best: bool,
        description: &str,
    ) {
        let towards = |end: f64| (255.0 + (end - 255.0) * share.clamp(0.0, 1.0)).round() as u8;
        let [r, g, b] = HOT.map(towards);
        let frame = if is_best {
            "stroke=\"#000\" stroke-width=\"2\""
        } else {
            "stroke=\"#bbb\" stroke-width=\"0.5\""
        };
        let (width, height) = HEAT;
        self.body += &format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"rgb({r},{g},{b})\" \
             {frame}><title>{}</title></rect>\n",
            escape(description)
        );
    }

    /// A PNG across the whole width.
    pub(in crate::report) fn image(
        &mut self,
        top: usize,
        width: usize,
        height: usize,
        description: &str,
        png: &[u8],
    ) {
        let data = base64::engine::general_purpose::STANDARD.encode(png);
        self.body += &format!(
            "<image x=\"0\" y=\"{top}\" width=\"{width}\" height=\"{height}\" style=\"image-rendering:pixelated\" \
             href=\"data:image/png;base64,{data}\"><title>{}</title></image>\n",
            escape(description)
        );
    }

    pub(in crate::report) fn text(&mut self, x: usize, y: usize, anchor: &str, text: &str) {
        self.body += &format!(
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" font-size=\"{FONT}\" \
             font-family=\"sans-serif\" fill=\"#1b1b1b\">{}</text>\n",
            escape(text)
        );
    }

    /// Words whose color, size and weight the page's style gives to their class.
    pub(in crate::report) fn words(
        &mut self,
        at: (f64, f64),
        anchor: &str,
        class: &str,
        text: &str,
    ) {
        let (x, y) = at;
        let text = escape(text);
        self.body += &format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{text}</text>\n"
        );
    }

    /// A line in the color of its class.
    pub(in crate::report) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.body += &format!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>\n"
        );
    }

    /// A curve through points in the color of its class.
    pub(in crate::report) fn curve(&mut self, points: &[(f64, f64)], class: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        self.body += &format!("<polyline points=\"{points}\" class=\"curve {class}\"/>\n");
    }

    /// A disk, or a square for `is_square`, in the color of its class; a pointer over it shows the description.
    pub(in crate::report) fn mark(
        &mut self,
        at: (f64, f64),
        radius: f64,
        is_square: bool,
        class: &str,
        description: &str,
    ) {
        let ((x, y), description) = (at, escape(description));
        let (left, top, side) = (x - radius, y - radius, 2.0 * radius);
        self.body += &match is_square {
            true => format!(
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{side:.1}\" height=\"{side:.1}\" \
                 class=\"{class}\"><title>{description}</title></rect>\n"
            ),
            false => format!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" class=\"{class}\">\
                 <title>{description}</title></circle>\n"
            ),
        };
    }

    /// Part of a page, as wide as there is room, colored by the page's style; `alt` says what it shows.
    pub(in crate::report) fn into_page(self, alt: &str) -> String {
        let Self { width, height, body } = self;
        format!(
            "<svg class=\"chart\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">\n{body}</svg>\n",
            escape(alt)
        )
    }

    /// A file of its own, on white whatever lies behind it.
    pub(in crate::report) fn finish(self) -> String {
        let Self { width, height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_become_grayscale_levels() {
        let mut svg = Svg::new(10, 10);
        svg.cell(0, 0, 0.0, "a");
        svg.cell(0, 0, 1.0, "b");
        svg.cell(0, 0, f64::NAN, "c<d");
        let text = svg.finish();
        assert!(text.contains("rgb(255,255,255)") && text.contains("rgb(0,0,0)"));
        assert!(text.contains("c&lt;d"));
    }
}
