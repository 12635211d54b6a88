//! The marks around pictures in comments, as each program writes them.

use super::{Slicer, THUMBNAILS_MAX, Thumbnail};

/// Formats of pictures, as their marks name them: PrusaSlicer and its relatives, then Creality.
const FORMATS: [(&str, &str); 6] = [
    ("thumbnail", "png"),
    ("thumbnail_JPG", "jpg"),
    ("thumbnail_QOI", "qoi"),
    ("png", "png"),
    ("jpg", "jpg"),
    ("bmp", "bmp"),
];

/// A whole picture on one line: Snapmaker's, and what MKS and Elegoo displays show.
const ON_ONE_LINE: [(&str, &str); 4] = [
    ("thumbnail: data:image/png;base64,", "png"),
    ("thumbnail:data:image/png;base64,", "png"),
    ("gimage:", "mks"),
    ("simage:", "mks"),
];

/// Whether a comment may begin or end a picture.
pub(super) fn is_mark(text: &[u8]) -> bool {
    matches!(text.first(), Some(b't' | b'p' | b'j' | b'b' | b'g' | b's'))
        && (FORMATS.iter().any(|(mark, _)| {
            let rest = text.strip_prefix(mark.as_bytes());
            rest.is_some_and(|rest| rest.starts_with(b" begin") || rest.starts_with(b" end"))
        }) || ON_ONE_LINE.iter().any(|(mark, _)| text.starts_with(mark.as_bytes())))
}

impl Slicer {
    /// `thumbnail begin 16x16 616`, `png begin 300*300 8 3 197 500`, `thumbnail end`.
    pub(super) fn picture_mark(&mut self, text: &[u8], line: u64) {
        let Ok(text) = std::str::from_utf8(text) else { return };
        let one = ON_ONE_LINE.iter().find_map(|(mark, format)| Some((*format, text.strip_prefix(mark)?)));
        if let Some((format, data)) = one {
            let found = data.len() as u64;
            self.picture(Thumbnail {
                format,
                width: 0,
                height: 0,
                line,
                announced: found,
                found,
                valid: true,
                ended: true,
            });
            return;
        }
        let mut words = text.split_ascii_whitespace();
        let mark = words.next().unwrap_or("");
        let Some((_, format)) = FORMATS.iter().find(|(known, _)| *known == mark) else { return };
        if words.next() == Some("end") {
            if let Some(thumbnail) = self.thumbnails.last_mut() {
                thumbnail.ended = true;
            }
            return;
        }
        let (width, height) = words.next().and_then(|size| size.split_once(['x', '*'])).unwrap_or(("0", "0"));
        let announced = words.next().and_then(|size| size.parse().ok());
        self.picture(Thumbnail {
            format,
            width: width.parse().unwrap_or(0),
            height: height.parse().unwrap_or(0),
            line,
            // Creality's numbers behind the size mean something else.
            announced: announced.filter(|_| mark.starts_with("thumbnail")).unwrap_or(0),
            found: 0,
            valid: true,
            ended: false,
        });
    }

    fn picture(&mut self, thumbnail: Thumbnail) {
        if self.thumbnails.len() < THUMBNAILS_MAX {
            self.thumbnails.push(thumbnail);
        }
    }
}
