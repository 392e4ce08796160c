"""What the published standards say of a record, as JSON Schema: each exported line is held against it.

Field lists: Logboek Dataverwerkingen 1.0 (section Interface) and the Authorization Decision Log (working version), with
the AuthZEN Access Evaluation API inside. Nothing that they do not name may stand in a record, but for what each lets an
implementation add.
"""

from typing import Any

from jsonschema import Draft202012Validator

TRACE = {"type": "string", "pattern": "^(?!0{32}$)[0-9a-f]{32}$"}
SPAN = {"type": "string", "pattern": "^(?!0{16}$)[0-9a-f]{16}$"}
MOMENT = {"type": "integer", "minimum": 0}
STATUS = {"enum": ["Unset", "Ok", "Error"]}
URI = {"type": "string", "pattern": "^(urn|https)://?[^ ]+$|^urn:[a-z0-9][a-z0-9-]{1,31}:[^ ]+$"}

LDV: dict[str, Any] = {
    "type": "object",
    "required": ["trace_id", "span_id", "status", "name", "start_time", "end_time", "attributes"],
    "additionalProperties": False,
    "properties": {
        "trace_id": TRACE,
        "span_id": SPAN,
        "parent_span_id": SPAN,
        "status": STATUS,
        "name": {"type": "string", "minLength": 1},
        "start_time": MOMENT,
        "end_time": MOMENT,
        "resource": {"type": "object", "required": ["attributes"]},
        "attributes": {
            "type": "object",
            "required": ["dpl.core.processing_activity_id"],
            "additionalProperties": False,
            "properties": {
                "dpl.core.processing_activity_id": URI,
                "dpl.core.data_subject_id": {"type": "string", "minLength": 1},
                "dpl.core.data_subject_id_type": {"type": "string", "minLength": 1},
                "dpl.core.foreign_operation.processor": URI,
            },
            "dependentRequired": {
                "dpl.core.data_subject_id": ["dpl.core.data_subject_id_type"],
                "dpl.core.data_subject_id_type": ["dpl.core.data_subject_id"],
            },
        },
    },
}

_ENTITY = {
    "type": "object",
    "required": ["type", "id"],
    "additionalProperties": False,
    "properties": {"type": {"type": "string"}, "id": {"type": "string"}, "properties": {"type": "object"}},
}

ADL: dict[str, Any] = {
    "type": "object",
    "required": ["trace_id", "span_id", "event_name", "timestamp", "status"],
    "additionalProperties": False,
    "properties": {
        "trace_id": TRACE,
        "span_id": SPAN,
        "parent_span_id": SPAN,
        "event_name": {"const": "adl.access_evaluation"},
        "timestamp": MOMENT,
        "status": STATUS,
        "resource": {"type": "object"},
        "attributes": {
            "type": "object",
            "required": ["adl.core.policies", "adl.core.configuration"],
            "additionalProperties": False,
            "properties": {
                "adl.core.policies": {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
                },
                "adl.core.information": {"type": "object", "minProperties": 1},
                "adl.core.configuration": {"type": "object", "minProperties": 1},
            },
            "patternProperties": {r"^(?!adl\.)[a-z_]+(\.[a-z_]+)+$": {}},
        },
        "body": {
            "type": "object",
            "required": ["adl.core.request", "adl.core.response"],
            "additionalProperties": False,
            "properties": {
                "adl.core.request": {
                    "type": "object",
                    "required": ["subject", "action", "resource"],
                    "additionalProperties": False,
                    "properties": {
                        "subject": _ENTITY,
                        "action": {
                            "type": "object",
                            "required": ["name"],
                            "additionalProperties": False,
                            "properties": {"name": {"type": "string"}, "properties": {"type": "object"}},
                        },
                        "resource": _ENTITY,
                        "context": {"type": "object"},
                    },
                },
                "adl.core.response": {
                    "type": "object",
                    "required": ["decision"],
                    "additionalProperties": False,
                    "properties": {"decision": {"type": "boolean"}, "context": {"type": "object"}},
                },
            },
        },
    },
}

_LDV = Draft202012Validator(LDV)
_ADL = Draft202012Validator(ADL)


def check_ldv(record: dict[str, Any]) -> None:
    """Raise ValidationError unless this is a record of the Logboek Dataverwerkingen."""
    _LDV.validate(record)
    assert record["start_time"] <= record["end_time"]


def check_adl(record: dict[str, Any]) -> None:
    """Raise ValidationError unless this is a record of the Authorization Decision Log."""
    _ADL.validate(record)
    # What an attribute refers to does not stand in the body as well.
    assert not set(record["attributes"]) & set(record["body"])
