"""Decoders by name: the list, the options, what comes from the model."""

import pytest

from diversify.decoding import siblings
from diversify.decoding.siblings import (
    DECODERS,
    BaseAlignedRouting,
    SiblingRepulsion,
    build_decoder,
    check_decoder,
)
from diversify.models import load_model


@pytest.fixture(scope="module")
def tiny(tiny_model_path):
    return load_model(tiny_model_path)


def test_every_decoder_is_public():
    assert {each.__name__ for each in DECODERS.values()} <= set(siblings.__all__)


@pytest.mark.parametrize("name", [name for name in DECODERS if name != "routing"])
def test_every_name_becomes_its_decoder(name, tiny):
    assert type(build_decoder(name, model=tiny)) is DECODERS[name]


def test_options_reach_the_decoder_and_the_tokenizer_gives_what_is_special(tiny):
    decoder = build_decoder("repulsion", {"n": 2, "weight": 4}, model=tiny)
    special = tuple(sorted(set(tiny.tokenizer.all_special_ids)))
    assert decoder == SiblingRepulsion(special=special, n=2, weight=4)


def test_routing_needs_a_base(tiny, tiny_model_path):
    with pytest.raises(ValueError, match="no adapter to switch off"):
        build_decoder("routing", {"threshold": 0.4}, model=tiny)
    named = build_decoder("routing", {"threshold": 0.4, "base": str(tiny_model_path)}, model=tiny)
    own = build_decoder("routing", {"threshold": 0.4}, model=tiny, adapted=True)
    assert isinstance(named, BaseAlignedRouting) and named.base is not tiny
    assert own.base is tiny


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("beams", {}, "decoder must be one of"),
        ("arithmetic", {"weight": 2}, "arithmetic has no option 'weight'; it has ..offset"),
        ("routing", {}, "routing needs the option 'threshold'"),
    ],
)
def test_wrong_names_are_refused_before_a_model_is_there(name, options, said):
    with pytest.raises(ValueError, match=said):
        check_decoder(name, options)


def test_text_for_a_number_is_refused_with_a_sentence(tiny):
    with pytest.raises(ValueError, match=r"diverse-beams: .*'length_penalty': 'long'"):
        build_decoder("diverse-beams", {"length_penalty": "long"}, model=tiny)
