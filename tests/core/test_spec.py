"""Specs: kinds by name, near-name hints, validation on change, YAML there and back."""

from typing import ClassVar

import pytest
from pydantic import ValidationError

from polyrec import Binary, Categorical, MMoE, Multiply, Recommender, Regression, SharedBottom, Training, UserError, kinds
from polyrec.core.spec import Family
from polyrec.networks.network import Network
from polyrec.tasks.task import Task


@pytest.fixture
def recommender() -> Recommender:
    return Recommender(
        user=(Categorical(name="user_id", width=8),),
        item=(Categorical(name="item_id"),),
        tasks=(Binary(name="like", label="rating >= 4"), Regression(name="stars", label="rating", tower=())),
        network=MMoE(experts=3, hidden=(16,)),
        fusion=Multiply(powers={"like": 1.0, "stars": 0.5}),
        training=Training(optimizer="SGD", learning_rate=1e-5),
    )


class TestKinds:
    def test_a_kind_is_read_by_name_with_its_own_fields(self):
        assert Network.model_validate({"kind": "MMoE", "experts": 3}) == MMoE(experts=3)

    def test_a_bare_name_is_the_kind_with_its_defaults(self):
        assert Network.model_validate("SharedBottom") == SharedBottom()

    def test_an_unknown_kind_is_refused_with_the_nearest(self):
        with pytest.raises(ValidationError, match="'MMoe' is not one of the networks. Did you mean 'MMoE'"):
            Network.model_validate({"kind": "MMoe"})

    def test_a_kind_of_another_family_is_refused(self):
        with pytest.raises(ValidationError, match="'Binary' is not one of the networks"):
            Network.model_validate({"kind": "Binary", "name": "a", "label": "b"})

    def test_a_missing_kind_lists_what_there_is(self):
        with pytest.raises(ValidationError, match=r"needs a 'kind'. Known: .*MMoE"):
            Network.model_validate({"experts": 3})

    def test_a_kind_that_is_no_word_is_refused(self):
        with pytest.raises(ValidationError, match="is not one of the networks"):
            Network.model_validate({"kind": ["MMoE"]})

    def test_an_unknown_field_is_refused_with_the_nearest(self):
        with pytest.raises(ValidationError, match="MMoE has no field 'expert'. Did you mean 'experts'"):
            MMoE(expert=3)

    def test_a_new_family_and_kind_are_known_once_defined(self):
        class Fruit(Family, family="fruits"):
            examples: ClassVar = ({},)

        class Apple(Fruit):
            weight: float = 1.0

        class _Shared(Fruit, kind=False):
            pass

        assert kinds("fruits") == {"Apple": Apple}
        assert Fruit.model_validate({"kind": "Apple", "weight": 2}).model_dump() == {"kind": "Apple", "weight": 2.0}

    def test_an_unknown_family_is_refused_with_the_nearest(self):
        with pytest.raises(UserError, match="Did you mean 'tasks'"):
            kinds("task")


class TestSpec:
    def test_is_frozen(self):
        with pytest.raises(ValidationError, match="frozen"):
            MMoE().experts = 3

    def test_replace_changes_one_field_and_keeps_the_others(self, recommender: Recommender):
        changed = recommender.replace(network=SharedBottom())
        assert changed.network == SharedBottom()
        assert changed.tasks == recommender.tasks

    def test_replace_validates(self):
        with pytest.raises(ValidationError, match="greater than or equal to 1"):
            MMoE().replace(experts=0)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_numbers_are_finite(self, value: float):
        with pytest.raises(ValidationError, match="finite"):
            Training(learning_rate=value)


class TestYaml:
    def test_there_and_back_is_identity(self, recommender: Recommender):
        text = recommender.to_yaml()
        assert Recommender.from_yaml(text) == recommender
        assert Recommender.from_yaml(text).to_yaml() == text

    def test_every_field_is_written(self, recommender: Recommender):
        text = recommender.to_yaml()
        for spec in (recommender, recommender.network, recommender.training, *recommender.tasks):
            for field in type(spec).model_fields:
                assert f"{field}:" in text

    def test_through_a_file(self, recommender: Recommender, tmp_path):
        recommender.to_yaml(tmp_path / "spec.yaml")
        assert Recommender.from_yaml(tmp_path / "spec.yaml") == recommender
        assert Recommender.from_yaml(str(tmp_path / "spec.yaml")) == recommender

    def test_all_that_is_wrong_is_told_in_lines(self):
        text = "tasks: [{kind: Binary, nam: x}, {kind: Binry, name: x, label: y}]\nnetwork: {kind: MMoE, experts: none}\n"
        with pytest.raises(UserError) as caught:
            Recommender.from_yaml(text)
        message = str(caught.value)
        assert "tasks.0: Binary has no field 'nam'. Did you mean 'name'?" in message
        assert "tasks.1: 'Binry' is not one of the tasks. Did you mean 'Binary'?" in message
        assert "network.experts: Input should be a valid integer" in message
        assert "pydantic" not in message

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("tasks: [", "expected the node content"),
            ("tasks: []\ntasks: []\n", "key 'tasks' is written twice"),
            ("!!python/object/apply:os.getcwd []\n#", "could not determine a constructor"),
            ("- 1\n- 2\n", "Input should be a valid dictionary"),
        ],
    )
    def test_what_is_no_declaration_is_refused(self, text: str, found: str):
        with pytest.raises(UserError, match=found):
            Recommender.from_yaml(text)

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(UserError, match=r"nowhere\.yaml.*no such file"):
            Recommender.from_yaml(tmp_path / "nowhere.yaml")

    def test_exponents_without_a_point_are_numbers(self):
        assert Training.from_yaml("learning_rate: 1e-4\n").learning_rate == 1e-4


class TestTaskNames:
    @pytest.mark.parametrize("name", ["", "a/b", "../up", "a.b"])
    def test_names_that_cannot_be_files_or_columns_are_refused(self, name: str):
        with pytest.raises(ValidationError, match="name"):
            Task.model_validate({"kind": "Binary", "name": name, "label": "y"})
