//! What a request can be refused with, for the description of the API: each set once, used by many addresses.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::header::Header;
use utoipa::openapi::{Content, Object, Ref, RefOr, Response, ResponseBuilder, Type};

type Responses = BTreeMap<String, RefOr<Response>>;

const BAD: (&str, &str) = ("400", "A parameter is not of its form: `field` names it");
const SENSELESS: (&str, &str) = (
    "422",
    "Of the right form, but together, or now, it makes no sense",
);
const UNKNOWN: (&str, &str) = ("404", "There is no such thing");
const FAILED: (&str, &str) = ("500", "It failed; the service's log says why");
const BUSY: (&str, &str) = (
    "503",
    "Too much is asked for at once, or nothing has been read yet",
);

fn problems(of: &[(&str, &str)]) -> Responses {
    let one = |(status, description): &(&str, &str)| {
        let content = Content::new(Some(Ref::from_schema_name("Problem")));
        let mut response = ResponseBuilder::new()
            .description(*description)
            .content("application/problem+json", content);
        if *status == BUSY.0 {
            let mut seconds = Header::new(Object::with_type(Type::Integer));
            seconds.description = Some("Seconds after which to ask again".to_owned());
            response = response.header("Retry-After", seconds);
        }
        ((*status).to_owned(), RefOr::T(response.build()))
    };
    of.iter().map(one).collect()
}

/// Of a list.
pub(super) struct Listing;

impl IntoResponses for Listing {
    fn responses() -> Responses {
        problems(&[BAD, SENSELESS, FAILED, BUSY])
    }
}

/// Of what is asked about one thing, or is filtered by one.
pub(super) struct Lookup;

impl IntoResponses for Lookup {
    fn responses() -> Responses {
        problems(&[BAD, UNKNOWN, SENSELESS, FAILED, BUSY])
    }
}

/// Of a mark on an alert.
pub(super) struct Marking;

impl IntoResponses for Marking {
    fn responses() -> Responses {
        problems(&[
            BAD,
            UNKNOWN,
            ("408", "The body did not come in time"),
            ("409", "The alert is over"),
            ("413", "The body is too large"),
            ("415", "The body is not said to be JSON"),
            (
                "422",
                "The body is JSON, but not of this form, or it makes no sense now",
            ),
            FAILED,
            BUSY,
        ])
    }
}
