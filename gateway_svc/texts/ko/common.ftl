brand = 하늘통신
skip-to-content = 본문으로 바로가기
nav-label = 주요 메뉴
nav-dispatch = 방문 조율
nav-tech = 오늘 작업
nav-ops = 운영
nav-audit = 감사 기록
language-label = 언어
language-ko = 한국어
language-en = English
optional = (선택)
errors-found = { $count ->
   *[other] 확인할 항목이 { $count }개 있습니다
}
live-on = 실시간 연결됨
live-off = 연결이 끊겼습니다. 다시 연결하는 중…
try-again = 다시 시도
not-sent = 응답이 없어 보내지 못했을 수 있습니다. 입력하신 내용은 그대로 있으니 다시 보내 주세요.
request-id = 문의하실 때 이 번호를 알려 주세요: { $id }

sign-in = 로그인
sign-out = 로그아웃
sign-in-title = 직원 로그인
sign-in-staff-only = 직원용 화면입니다. 주문하신 고객이신가요?
sign-in-subscriber = 주문 조회로 가기
sign-in-username = 사용자 이름
sign-in-password = 비밀번호
sign-in-incomplete = 사용자 이름과 비밀번호를 모두 적어 주세요.
sign-in-wrong = 사용자 이름 또는 비밀번호가 맞지 않습니다.
sign-in-locked = 로그인 실패가 너무 많습니다. 몇 분 뒤에 다시 시도해 주세요.
sign-in-impossible = 지금은 로그인할 수 없습니다. 잠시 뒤 다시 시도해 주세요.
notice-signed-out = 로그아웃했습니다.

error-401-title = 다시 로그인해 주세요
error-401 = 로그인 시간이 끝났습니다. 다시 로그인하면 이어서 할 수 있습니다.
error-403-title = 이 화면을 열 수 없습니다
error-403 = 권한이 없거나, 화면이 오래되어 더 이상 유효하지 않습니다. 화면을 새로 열어 다시 시도해 주세요.
error-404-title = 찾을 수 없습니다
error-404 = 주소를 확인해 주세요. 방금 접수한 주문이라면 잠시 뒤 다시 시도해 주세요.
error-409-title = 지금 상태에서는 할 수 없습니다
error-409 = 그사이 상태가 바뀌었습니다. 화면을 새로 열어 확인해 주세요.
error-422-title = 입력한 내용을 확인해 주세요
error-422 = 처리할 수 없는 내용이 있습니다.
error-429-title = 요청이 너무 많습니다
error-429 = 잠시 뒤 다시 시도해 주세요.
error-503-title = 잠시 연결되지 않습니다
error-503 = 필요한 서비스가 응답하지 않습니다. 입력하신 내용은 처리되지 않았을 수 있으니 잠시 뒤 다시 시도해 주세요.
error-any-title = 문제가 생겼습니다
error-any = 예상하지 못한 문제입니다. 다시 시도해도 계속되면 아래 번호와 함께 알려 주세요.

status-accepted = 접수됨
status-placed = 주문 접수
status-activated = 회선 준비 완료
status-scheduled = 방문 예정
status-completed = 설치 완료
status-rejecting = 설치 불가 처리 중
status-rejected = 설치 불가
status-cancelling = 취소 중
status-cancelled = 취소됨
status-fallout = 확인 중

kind-internet = 인터넷
kind-tv = TV
