"""Y1: where YAML surprises people, the config gives the exact value or says exactly what to write."""

from functools import reduce

import pytest

D = "data: {name: digits}\n"


VALUES = [
    # numbers as people write them
    ("optimizer: {lr: 1e-3}", "optimizer.lr", 0.001),
    ("optimizer: {lr: 1E-3}", "optimizer.lr", 0.001),
    ("optimizer: {lr: 1e3}", "optimizer.lr", 1000.0),
    ("optimizer: {lr: 1.e-3}", "optimizer.lr", 0.001),
    ("optimizer: {lr: .5}", "optimizer.lr", 0.5),
    ("optimizer: {lr: 5.}", "optimizer.lr", 5.0),
    ("optimizer: {lr: +0.5}", "optimizer.lr", 0.5),
    ("optimizer: {lr: 3}", "optimizer.lr", 3.0),
    ("optimizer: {lr: 1.0e+2}", "optimizer.lr", 100.0),
    ("optimizer: {lr: auto}", "optimizer.lr", "auto"),
    ('optimizer: {lr: "auto"}', "optimizer.lr", "auto"),
    ("optimizer: {lr: 5e-324}", "optimizer.lr", 5e-324),
    ("seed: 9223372036854775807", "seed", 2**63 - 1),
    ("seed: +7", "seed", 7),
    ("train: {batch_size: full}", "train.batch_size", "full"),
    ("threads: 4", "threads", 4),
    ("optimizer: {betas: [0.9, 0.999]}", "optimizer.betas", (0.9, 0.999)),
    # text fields take what is written
    ("name: no", "name", "no"),
    ("name: on", "name", "on"),
    ("name: yes", "name", "yes"),
    ("name: 010", "name", "010"),
    ("name: 1_000", "name", "1_000"),
    ("name: 1e3", "name", "1e3"),
    ("name: 2024-01-31", "name", "2024-01-31"),
    ("name: true", "name", "true"),
    ("name: 0x10", "name", "0x10"),
    ("name: '007'", "name", "007"),
    ("notes: 1:30", "notes", "1:30"),
    ("notes: .inf", "notes", ".inf"),
    ("notes: null", "notes", None),
    ("notes: ~", "notes", None),
    ("notes:", "notes", None),
    ('notes: "null"', "notes", "null"),
    ('notes: ""', "notes", ""),
    ("notes: a # b", "notes", "a"),
    ("notes: a#b", "notes", "a#b"),
    ("notes: |\n  two\n  lines\n", "notes", "two\nlines\n"),
    ("notes: >-\n  one\n  line\n", "notes", "one line"),
    (r'notes: "tab\tnew\n\u00e9"', "notes", "tab\tnew\né"),
    ("notes: 'it''s'", "notes", "it's"),
    ("notes: Größe 日本 😀", "notes", "Größe 日本 😀"),
    ("logging: {progress: off}", "logging.progress", "off"),
    ("train: {preflight: off}", "train.preflight", "off"),
    ("loss: {class_weight: {no: 1, 0: 2, 1_0: 3}}", "loss.class_weight", {"no": 1.0, "0": 2.0, "1_0": 3.0}),
    ("train: {max_time: 2h30m}", "train.max_time", "2h30m"),
    ("train: {early_stopping: false}", "train.early_stopping", False),
    ("model: {hidden: []}", "model.hidden", ()),
    ("model:\n  hidden:\n  - 8\n  - 4\n", "model.hidden", (8, 4)),
    ("model: {bias: false}", "model.bias", False),
    ("metrics: [accuracy, top_k(3)]", "metrics", ("accuracy", "top_k(3)")),
]
DATA_VALUES = [
    ("target: 3", "target", 3),
    ('target: "3"', "target", "3"),
    ("target: -1", "target", -1),
    ("target: [no, 2]", "target", ("no", 2)),
    ("classes: [no, yes]", "classes", ("no", "yes")),
    ("classes: [1.0, 2.0]", "classes", ("1.0", "2.0")),
    ("split: {val: 100}", "split.val", 100),
    ("split: {val: 0.1}", "split.val", 0.1),
    (r'csv: {delimiter: "\t"}', "csv.delimiter", "\t"),
    ("csv: {delimiter: ;}", "csv.delimiter", ";"),
    ("csv: {quote: null}", "csv.quote", None),
    ("csv: {header: true}", "csv.header", True),
    ("csv: {na: [NA, '']}", "csv.na", ("NA", "")),
]

NUMBER = "expected a number > 0"
REFUSED = [
    # the messages promised word for word
    (
        D + "optimizer:\n  lr: fast",
        'config.yaml:3:7: optimizer.lr: expected a number > 0 (got "fast"); for example lr: 1e-3',
    ),
    (D + "model:\n  hiden: [1]", 'config.yaml:3:3: model.hiden: unknown key; did you mean "hidden"?'),
    (
        D + "train: {epochs: 1}\ntrain: {epochs: 2}",
        "config.yaml:3:1: train: key given twice (first at line 2); keep one",
    ),
    ("data:\n  name: &x digits", "config.yaml:2:9: anchors and aliases are not supported; write the value out"),
    ("data: {name: *x}", "config.yaml:1:14: anchors and aliases are not supported; write the value out"),
    # numbers that YAML 1.1 would read as something else
    (
        D + "train: {epochs: 010}",
        "config.yaml:2:17: train.epochs: expected an integer >= 1 (got 010); write 10, without leading zeros",
    ),
    (
        D + "optimizer: {lr: 010}",
        f"config.yaml:2:17: optimizer.lr: {NUMBER} (got 010); write 10, without leading zeros",
    ),
    (
        D + "optimizer: {lr: 1:30}",
        f'config.yaml:2:17: optimizer.lr: {NUMBER} (got "1:30"); write one plain number, without colons',
    ),
    (
        D + "train: {epochs: 1_000}",
        'config.yaml:2:17: train.epochs: expected an integer >= 1 (got "1_000"); write 1000, without underscores',
    ),
    (D + "seed: 0x10", 'config.yaml:2:7: seed: expected an integer in [0, 9223372036854775807] (got "0x10"); write 16'),
    (D + "optimizer: {lr: nan}", f'config.yaml:2:17: optimizer.lr: {NUMBER} (got "nan"); write a finite number'),
    (D + "optimizer: {lr: .inf}", f'config.yaml:2:17: optimizer.lr: {NUMBER} (got ".inf"); write a finite number'),
    (
        D + "optimizer: {clip_norm: inf}",
        f'config.yaml:2:24: optimizer.clip_norm: {NUMBER} (got "inf"); write a finite number, or null to leave it off',
    ),
    (
        D + "optimizer: {lr: 1e999}",
        f"config.yaml:2:17: optimizer.lr: {NUMBER} (got 1e999); write a number below 1e308 in size",
    ),
    (D + 'optimizer: {lr: "1e-3"}', f'config.yaml:2:17: optimizer.lr: {NUMBER} (got "1e-3"); remove the quotes'),
    (
        D + "optimizer: {lr: '1e-3'}",
        f'config.yaml:2:17: optimizer.lr: {NUMBER} (got "1e-3"); remove the quotes',
    ),
    (D + "optimizer: {lr: }", f"config.yaml:2:17: optimizer.lr: {NUMBER} (got nothing); for example lr: 1e-3"),
    (D + "optimizer:\n  lr:\n", f"config.yaml:3:6: optimizer.lr: {NUMBER} (got nothing); for example lr: 1e-3"),
    (D + "optimizer: {lr: 0}", f"config.yaml:2:17: optimizer.lr: {NUMBER} (got 0); for example lr: 1e-3"),
    (D + "optimizer: {lr: -1}", f"config.yaml:2:17: optimizer.lr: {NUMBER} (got -1); for example lr: 1e-3"),
    (D + "optimizer: {lr: true}", f"config.yaml:2:17: optimizer.lr: {NUMBER} (got true); for example lr: 1e-3"),
    (D + "optimizer: {lr: [1]}", f"config.yaml:2:17: optimizer.lr: {NUMBER} (got a list); for example lr: 1e-3"),
    (D + "optimizer: {lr: 10%}", f'config.yaml:2:17: optimizer.lr: {NUMBER} (got "10%"); write 0.1'),
    (
        D + "optimizer:\n  lr: 1,5",
        f'config.yaml:3:7: optimizer.lr: {NUMBER} (got "1,5"); write 1.5, with a decimal point',
    ),
    (D + "optimizer: {lr: atuo}", f'config.yaml:2:17: optimizer.lr: {NUMBER} (got "atuo"); did you mean "auto"?'),
    (D + "train: {epochs: 1e3}", "config.yaml:2:17: train.epochs: expected an integer >= 1 (got 1e3); write 1000"),
    (D + "train: {epochs: 64.0}", "config.yaml:2:17: train.epochs: expected an integer >= 1 (got 64.0); write 64"),
    (
        D + "train: {epochs: 2.5}",
        "config.yaml:2:17: train.epochs: expected an integer >= 1 (got 2.5); for example epochs: 20",
    ),
    (
        D + "model: {dropout: 1}",
        "config.yaml:2:18: model.dropout: expected a number in [0, 1) (got 1); for example dropout: 0.2",
    ),
    (
        D + "seed: 9223372036854775808",
        "config.yaml:2:7: seed: expected an integer in [0, 9223372036854775807] (got 9223372036854775808);"
        " write at most 9223372036854775807",
    ),
    # booleans are true and false
    (D + "model: {bias: no}", 'config.yaml:2:15: model.bias: expected true or false (got "no"); write false'),
    (D + "model: {bias: on}", 'config.yaml:2:15: model.bias: expected true or false (got "on"); write true'),
    (D + "model: {bias: True}", 'config.yaml:2:15: model.bias: expected true or false (got "True"); write true'),
    (
        D + 'model: {bias: "true"}',
        'config.yaml:2:15: model.bias: expected true or false (got "true"); write true, without quotes',
    ),
    (D + "model: {bias: 1}", "config.yaml:2:15: model.bias: expected true or false (got 1); write true"),
    (D + "model: {bias: nein}", 'config.yaml:2:15: model.bias: expected true or false (got "nein"); write false'),
    (
        D + "model: {bias: ture}",
        'config.yaml:2:15: model.bias: expected true or false (got "ture"); did you mean "true"?',
    ),
    (D + "model: {bias: perhaps}", 'config.yaml:2:15: model.bias: expected true or false (got "perhaps")'),
    (D + "model: {bias: }", "config.yaml:2:15: model.bias: expected true or false (got nothing)"),
    # lists, mappings, names
    (
        D + "model: {hidden: 64}",
        "config.yaml:2:17: model.hidden: expected a list (got 64); write it as a list: hidden: [64]",
    ),
    (
        D + "model: {hidden: [64, x]}",
        'config.yaml:2:22: model.hidden.1: expected an integer >= 1 (got "x"); for example 64',
    ),
    (D + "model: {hidden: [{dropout: 0.1}]}", "config.yaml:2:18: model.hidden.0.units: required"),
    (
        D + "schedule: cosine",
        'config.yaml:2:11: schedule: expected a mapping (got "cosine"); write schedule: {name: cosine}',
    ),
    (
        "data: people.csv",
        'config.yaml:1:7: data: expected a mapping (got "people.csv"); write data: {train: people.csv, target: COLUMN}',
    ),
    (D + "model:", "config.yaml:2:7: model: expected a mapping (got nothing); fill it in or remove the key"),
    (
        D + "model: {activation: rellu}",
        'config.yaml:2:21: model.activation: unknown value (got "rellu"); did you mean "relu"?',
    ),
    (
        D + "model: {activation: ReLU}",
        'config.yaml:2:21: model.activation: unknown value (got "ReLU"); did you mean "relu"?',
    ),
    (
        D + "model: {norm: 5}",
        "config.yaml:2:15: model.norm: unknown value (got 5); choose from none, batch, layer, rms",
    ),
    (
        D + "model: {activation: {name: tanh, alpha: 1}}",
        "config.yaml:2:41: model.activation.alpha: tanh has no alpha (got 1); remove it;"
        " it belongs to leaky_relu, prelu, elu",
    ),
    (D + "learning_rate: 1", "config.yaml:2:1: learning_rate: unknown key; write it as optimizer.lr"),
    (D + "epochs: 1", "config.yaml:2:1: epochs: unknown key; write it as train.epochs"),
    (
        D + "loss: {mode: 1}",
        "config.yaml:2:8: loss.mode: unknown key;"
        " write it as train.early_stopping.mode or checkpoint.mode or gradcheck.mode",
    ),
    (
        D + "train: {max_time: 1:30}",
        'config.yaml:2:19: train.max_time: expected a time span such as 2h30m, 45m or 90s (got "1:30");'
        " write 1h30m or 1m30s",
    ),
    (
        D + "train: {max_time: 90}",
        "config.yaml:2:19: train.max_time: expected a time span such as 2h30m, 45m or 90s (got 90);"
        " write 90s or 90m, with a unit",
    ),
    (
        D + "schedule: {milestones: [20, 10]}",
        "config.yaml:2:24: schedule.milestones: expected increasing epochs; for example milestones: [10, 20]",
    ),
    (
        D + "train: {shards: 6}",
        "config.yaml:2:17: train.shards: expected a power of two (got 6); write 1, 2, 4, 8, 16, ...",
    ),
    (
        D + "optimizer: {betas: [0.9]}",
        "config.yaml:2:20: optimizer.betas: expected two numbers in [0, 1); for example betas: [0.9, 0.999]",
    ),
    (D + "device: gpu", 'config.yaml:2:9: device: unknown value (got "gpu"); did you mean "cuda"?'),
    (
        D + "metrics: accuracy",
        'config.yaml:2:10: metrics: unknown value (got "accuracy"); '
        "choose from auto, or a list such as [loss, accuracy]",
    ),
    (
        D + "train: {early_stopping: true}",
        "config.yaml:2:25: train.early_stopping: expected false or a mapping (got true); "
        "for example early_stopping: {patience: 20}",
    ),
    # what stands where
    ("seed: 1", "config.yaml:1:1: data: required; for example data: {name: digits}"),
    (
        "data: {}",
        "config.yaml:1:7: data: needs a data set; write name: digits for an embedded data set, or train: FILE",
    ),
    (
        "data: {name: digits, train: a.csv}",
        'config.yaml:1:14: data.name: given together with data.train (got "digits"); keep one of them',
    ),
    (
        "data:\n  split: {val: 0.6, test: 0.4}\n  name: digits",
        "config.yaml:2:16: data.split.val: with data.split.test leaves no training rows (got 0.6);"
        " choose shares with a sum below 1",
    ),
    ("", "config.yaml: the config is empty; for example data: {name: digits}"),
    ("# nothing\n", "config.yaml: the config is empty; for example data: {name: digits}"),
    ("- a\n- b\n", "config.yaml:1:1: expected keys and values (got a list); for example data: {name: digits}"),
    ("digits", 'config.yaml:1:1: expected keys and values (got "digits"); for example data: {name: digits}'),
    # the parts of YAML that are left out
    (D + "--- \nseed: 1", "config.yaml:2:1: a second document starts here; keep one, without ---"),
    (D + "seed: !!int 1", "config.yaml:2:7: tags are not supported; remove it; the key decides the type"),
    (D + "train:\n  <<: {epochs: 1}", "config.yaml:3:3: merge keys are not supported; write the keys out"),
    (D + "? [a]\n: 1", "config.yaml:2:3: a key must be text, not a list; write key: value"),
    (D + "model:\n\thidden: [1]", "config.yaml:3:1: a tab where a value or key should be; indent with spaces"),
    (
        D + "model: {hidden: [1}",
        "config.yaml:2:19: a comma or a closing bracket is missing; write [a, b] or {a: 1, b: 2}",
    ),
    (
        D + "notes: a: b",
        "config.yaml:2:9: a key cannot stand here; quote a value with ': ' in it, or mend the indentation",
    ),
    (D + "notes: 'open", "config.yaml:2:8: quotes are opened and never closed; close them"),
    (D + "notes: @me", "config.yaml:2:8: a value cannot start with '@'; put it in quotes"),
    (D + "notes: a\x07b", 'config.yaml:2:9: control characters are not allowed (got "\\x07")'),
    (D + "notes: " + "[" * 40, "config.yaml:2:39: nested deeper than 32 levels"),
]


def value_at(config: object, key: str) -> object:
    return reduce(getattr, key.split("."), config)


@pytest.mark.parametrize(("text", "key", "value"), VALUES, ids=[text for text, _, _ in VALUES])
def test_a_value_is_what_its_key_makes_of_the_text(read, text, key, value):
    found = value_at(read(D + text), key)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("text", "key", "value"), DATA_VALUES, ids=[text for text, _, _ in DATA_VALUES])
def test_a_value_of_the_data_is_what_its_key_makes_of_the_text(read, text, key, value):
    found = value_at(read("data:\n  name: digits\n  " + text).data, key)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("text", "line"), REFUSED, ids=[repr(text.removeprefix(D))[:60] for text, _ in REFUSED])
def test_a_slip_is_refused_in_one_exact_line(complaints, text, line):
    assert complaints(text) == [line]
