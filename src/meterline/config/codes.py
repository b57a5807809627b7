"""
The codes of diagnostics: what each one means, for the documentation. Codes are never reused for another meaning.
"""

from collections.abc import Mapping
from typing import Final

CODES: Final[Mapping[str, str]] = {
    "ML001": "The config file cannot be opened or is not UTF-8.",
    "ML002": "The file is not YAML.",
    "ML003": "A tab stands where YAML wants spaces.",
    "ML004": "A key stands twice in one mapping.",
    "ML005": "Values are nested too deep; or aliases stand inside themselves, or write out to too many values.",
    "ML006": "YAML that a config cannot be: empty, several documents, unknown tags, keys that are no text.",
    "ML010": "An environment variable that is named is not set.",
    "ML011": "A file that is named in `${file:PATH}` cannot be read.",
    "ML012": "A substitution is not written right.",
    "ML020": "A key is not known here.",
    "ML021": "A key is missing.",
    "ML022": "A value is of the wrong type.",
    "ML023": "A value is not one of those that there are.",
    "ML024": "A number is out of range, or something is empty that must not be.",
    "ML025": "A value cannot be used; the message says why.",
    "ML030": "No installed plugin has this name.",
    "ML031": "A plugin is installed and does not load.",
    "ML032": "A listener that other machines reach would let everybody write usage.",
    "ML040": "Two rules have one name, or a rule has the reserved name `manual`.",
    "ML041": "A selector cannot be read.",
    "ML042": "A template cannot be read.",
    "ML043": "A regular expression is not RE2.",
    "ML044": "A `when` does not compile.",
    "ML045": "A `when` is not true or false by its type.",
    "ML046": "A lookup table cannot be used.",
    "ML047": "A rule says what cannot go together.",
    "ML048": "A log rule needs an `identity`, or has one that cannot be.",
    "ML049": "A `value` does not fit the rule.",
    "ML050": "A `scale` or an `active_from` cannot be used.",
    "ML101": "Warning: two rules may bill one point to one dimension.",
    "ML102": "Warning: `identity: none` recognises a repeat only as a whole request, and within an hour.",
    "ML103": "Warning: a regular expression is found in every text.",
    "ML104": "Warning: type, unit and value of a rule do not go together: its points will be quarantined.",
    "ML105": "Warning: literal text where a selector was probably meant.",
    "ML106": "Warning: a rule can never match.",
    "ML107": "Warning: a number in a match has another text than was written.",
    "ML108": "Warning: credentials sent to a listener that other machines reach travel in plain text.",
    "ML109": "Warning: a `when` reads an attribute that may not be there.",
    "ML110": "Warning: there is no receiver, or no rule.",
    "ML111": "Warning: `forget` names an exporter that is configured.",
}
