"""Every field has a class, and the published schema and the document tell it."""

import pytest
from jsonschema import Draft202012Validator

from auditpipe.schemas import generated_part, privacy, privacy_document, published
from auditpipe.schemas.event import Event
from auditpipe.schemas.secrets import has_secret_word


def test_every_field_of_the_models_has_a_class_and_no_other_has() -> None:
    schema = Event.model_json_schema(by_alias=True)
    assert [path for path, _ in privacy.fields(schema)] == list(privacy.CLASSES)


@pytest.mark.parametrize("name", [published.EVENT, published.DRAFT])
def test_the_published_schema_tells_it_of_each_field(name: str) -> None:
    schema = published.load(name)
    told = {path: definition[privacy.KEYWORD] for path, definition in privacy.fields(schema)}
    assert told == {path: privacy.CLASSES[path] for path in told}
    assert name != published.EVENT or told.keys() == privacy.CLASSES.keys()
    Draft202012Validator.check_schema(schema)


def test_no_field_of_the_event_itself_is_secret() -> None:
    """A secret has a name in `audit.redacted` and no field to stand in."""
    assert [path for path in privacy.CLASSES if any(map(has_secret_word, path.split(".")))] == []


def test_the_document_has_the_table_of_all_fields_between_its_marks() -> None:
    text = f"before\n{generated_part.BEGIN}\nold\n{generated_part.END}\nafter\n"
    made = privacy_document.with_table(text)
    assert made.startswith("before\n") and made.endswith("\nafter\n") and "\nold\n" not in made
    assert all(f"`{path}`" in made for path in privacy.CLASSES)
    assert privacy_document.with_table(made) == made
