//! Markup that cannot forget to escape.

use std::fmt::{self, Display, Formatter};

use axum::response::IntoResponse;
use http::HeaderValue;
use http::header::CONTENT_TYPE;

/// Escaped markup. Only [`html!`] and [`Html::trusted`] make it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Html(String);

impl Html {
    /// Makes markup of the program's own text, without escaping.
    pub(crate) fn trusted(markup: &'static str) -> Self {
        Self(markup.to_owned())
    }

    #[doc(hidden)]
    pub(crate) fn formatted(markup: String) -> Self {
        Self(markup)
    }
}

impl FromIterator<Html> for Html {
    fn from_iter<I: IntoIterator<Item = Html>>(parts: I) -> Self {
        Self(parts.into_iter().map(|part| part.0).collect())
    }
}

impl IntoResponse for Html {
    fn into_response(self) -> axum::response::Response {
        ([(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))], self.0).into_response()
    }
}

/// A value in a template: markup stays as it is, and everything else is escaped.
pub(crate) trait Render {
    fn render(&self, f: &mut Formatter<'_>) -> fmt::Result;
}

impl Render for Html {
    fn render(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Render for str {
    fn render(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut rest = self;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            let (plain, special) = rest.split_at(at);
            f.write_str(plain)?;
            f.write_str(match special.as_bytes()[0] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#39;",
            })?;
            rest = &special[1..];
        }
        f.write_str(rest)
    }
}

impl Render for String {
    fn render(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.as_str().render(f)
    }
}

impl Render for u32 {
    fn render(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl<T: Render + ?Sized> Render for &T {
    fn render(&self, f: &mut Formatter<'_>) -> fmt::Result {
        (**self).render(f)
    }
}

impl<T: Render> Render for Option<T> {
    fn render(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.as_ref().map_or(Ok(()), |part| part.render(f))
    }
}

/// Makes `format!` print a [`Render`].
pub(crate) struct Part<T>(pub(crate) T);

impl<T: Render> Display for Part<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.render(f)
    }
}

/// Fills a template. Every argument is named and goes through [`Render`].
///
/// The template goes through `concat!`, because `format!` then refuses a `{name}` that is not in the list: no variable of the
/// surrounding scope gets in unescaped. Attribute values must be in double quotes.
macro_rules! html {
    ($($template:literal)+ $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::html::Html::formatted(format!(concat!($($template),+) $(, $name = $crate::html::Part(&$value))*))
    };
}
pub(crate) use html;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_markup_is_not() {
        for (name, text, escaped) in [
            ("plain", "tea & honey", "tea &amp; honey"),
            ("element", "<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("attribute", "\" onclick='x'", "&quot; onclick=&#39;x&#39;"),
            ("escaped already", "&lt;", "&amp;lt;"),
            ("beyond ASCII", "Gruß <3 ☕", "Gruß &lt;3 ☕"),
            ("braces", "{who}", "{who}"),
            ("empty", "", ""),
        ] {
            assert_eq!(html!("<p>{t}</p>", t = text).0, format!("<p>{escaped}</p>"), "{name}");
            assert_eq!(html!("{t}", t = Some(text.to_owned())).0, escaped, "{name}");
        }
        let inner = html!("<b>{n}</b>", n = 2);
        assert_eq!(
            html!("<p>{inner}</p>", inner = [inner.clone(), inner].into_iter().collect::<Html>()).0,
            "<p><b>2</b><b>2</b></p>"
        );
    }
}
