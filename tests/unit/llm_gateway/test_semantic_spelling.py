"""Which words look alike and are not one: what the vectors of their pieces do not tell."""

import pytest

from cognitionos.llm_gateway.domain.semantic_spelling import is_another

OTHERS = """
    hypoglycemia/hyperglycemia prenatal/postnatal endothermic/exothermic emigrate/immigrate overpaid/underpaid
    process/preprocess domain/subdomain class/subclass order/preorder seller/reseller symmetric/asymmetric
    body/antibody war/postwar pay/prepay repay/prepay uptime/downtime uphill/downhill cation/anion
    prednisone/prednisolone slovakia/slovenia iran/iraq gambia/zambia trainee/trainer desert/dessert careful/careless
    principal/principle moral/morale breath/breathe intern/internal organ/organization universe/university
    filing/filling car/card minor/miner affect/effect psychologist/psychiatrist electric/electronic address/adress
"""
FORMS = """
    install/installed install/installing install/installation stop/stopping large/larger deny/denial renew/renewal
    refer/referral survive/survival cancel/cancellation cancelled/canceled travel/travelling colour/color
    organise/organize analyse/analyze centre/center catalogue/catalog judgement/judgment licence/license adviser/advisor
    describe/description submit/submission extend/extension decide/decision apply/application explain/explanation
    maintain/maintenance destroy/destruction analyze/analysis available/availability different/difference
    register/registration enter/entry summary/summarize respond/response close/closure send/sent write/written
    child/children percent/percentage second/sec photo/photograph
"""
STRANGERS = "cat/car refund/invoice boiling/freezing cancel/terminate bank/river"


@pytest.mark.parametrize("pair", OTHERS.split())
def test_a_word_that_looks_like_another_is_told_from_it_either_way_round(pair: str) -> None:
    one, other = pair.split("/")

    assert is_another(one, other)
    assert is_another(other, one)


@pytest.mark.parametrize("pair", [*FORMS.split(), *STRANGERS.split()])
def test_forms_and_spellings_of_one_word_and_words_unlike_are_not_objected_to(pair: str) -> None:
    one, other = pair.split("/")

    assert not is_another(one, other)
    assert not is_another(other, one)
    assert not is_another(one, one)
