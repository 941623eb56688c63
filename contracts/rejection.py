"""Why a technician may reject a job (반송): the codes and their texts."""

from __future__ import annotations

from typing import Literal, get_args

RejectionCode = Literal[
    "customer_absent", "customer_refused", "no_duct", "no_fibre", "no_power", "unsafe", "wrong_address", "other"
]

REJECTION_REASONS: dict[RejectionCode, dict[str, str]] = {
    "customer_absent": {"ko": "고객 부재", "en": "Customer absent"},
    "customer_refused": {"ko": "고객 거부", "en": "Customer refused the installation"},
    "no_duct": {"ko": "관로 없음 또는 막힘", "en": "No duct, or the duct is blocked"},
    "no_fibre": {"ko": "광케이블 여유 없음", "en": "No spare fibre"},
    "no_power": {"ko": "전원 없음", "en": "No power at the site"},
    "unsafe": {"ko": "작업 안전 불가", "en": "The site is unsafe"},
    "wrong_address": {"ko": "주소 불일치", "en": "The address is wrong"},
    "other": {"ko": "기타", "en": "Other (see the note)"},
}

assert set(REJECTION_REASONS) == set(get_args(RejectionCode))
