"""What the timeline says to a subscriber, in Korean and English, by event."""

from __future__ import annotations

TEXTS: dict[str, tuple[str, str]] = {
    "order_placed": ("주문이 접수되었습니다", "The order has been received"),
    "activation_completed": (
        "회선이 준비되었고 방문을 요청했습니다", "The lines are ready and a visit has been requested",
    ),
    "activation_failed": (
        "회선 개통이 지연되어 담당자가 확인 중입니다", "Provisioning is delayed; an operator is looking into it",
    ),
    "visit_scheduled": ("방문 일정이 확정되었습니다", "The visit has been scheduled"),
    "fieldwork_completed": ("설치가 완료되었습니다", "The installation is done"),
    "fieldwork_rejected": ("현장에서 설치하지 못했습니다", "The installation was not possible on site"),
    "order_cancel_requested": ("취소를 요청하셨습니다", "Cancellation has been requested"),
    "activation_cancel_requested": ("방문 취소를 진행 중입니다", "The visit is being called off"),
    "visit_cancel_requested": ("기사 작업 취소를 진행 중입니다", "The technician's job is being called off"),
    "fieldwork_cancelled": ("기사 작업이 취소되었습니다", "The technician's job has been called off"),
    "visit_cancelled": ("방문이 취소되었습니다", "The visit has been called off"),
    "activation_reverted/cancelled": ("회선 설정을 되돌렸습니다", "The lines have been put back as they were"),
    "activation_reverted/rejected": ("회선 설정을 되돌렸습니다", "The lines have been put back as they were"),
    "order_completed": ("주문이 완료되었습니다", "The order is completed"),
    "order_rejected": ("설치 불가로 주문이 종료되었습니다", "The order is closed: the installation was not possible"),
    "order_cancelled": ("주문이 취소되었습니다", "The order is cancelled"),
}
