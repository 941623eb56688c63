signup-nav = 가입 신청
signup-title = 인터넷·TV 가입 신청
signup-title-errors = 확인해 주세요 – 인터넷·TV 가입 신청
signup-lead = 상품을 고르고 설치할 곳과 연락처를 알려 주세요. 2분이면 됩니다.

signup-internet = 1. 인터넷
signup-internet-quantity = 회선 수
signup-tv = 2. TV
signup-no-tv = TV 없이
signup-tv-quantity = 몇 대에서 보시나요?
signup-speed = 다운로드 { $down } Mbps · 업로드 { $up } Mbps
signup-channels = { $channels }개 채널
signup-a-month = 월 { $fee }

signup-address = 3. 설치할 곳
signup-postcode = 우편번호
signup-postcode-hint = 숫자 5자리
signup-line1 = 주소
signup-line1-hint = 도로명 주소를 적어 주세요. 예: 서울특별시 강남구 테헤란로 1
signup-line2 = 상세 주소
signup-line2-hint = 동·호수처럼 기사님이 찾아가는 데 필요한 것

signup-contact = 4. 연락처
signup-name = 이름
signup-phone = 전화번호
signup-phone-hint = 방문 시간을 정하려고 이 번호로 전화드립니다.
signup-email = 이메일

signup-total = 매달 내실 금액
signup-total-none = 상품을 고르면 보여 드립니다
signup-total-hint = 부가세를 포함한 금액입니다.
signup-send = 가입 신청하기
signup-total-again = 금액 다시 계산
signup-privacy = 적어 주신 정보는 주문을 처리하고 방문하는 데만 씁니다.
signup-next = 신청하시면 이렇게 진행됩니다
signup-next-received = 바로 주문 번호를 드립니다. 이 번호로 언제든 진행 상황을 보실 수 있습니다.
signup-next-lines = 회선을 준비합니다.
signup-next-visit = 전화드려 방문 시간을 정합니다. 직접 고르셔도 됩니다.
signup-next-installed = 기사님이 방문해 설치해 드립니다. 그 전까지는 언제든 취소하실 수 있습니다.

signup-error-internet = 인터넷 상품을 하나 골라 주세요.
signup-error-internet-quantity = 신청할 수 있는 인터넷 회선 수가 아닙니다. 다시 골라 주세요.
signup-error-tv = TV 상품을 목록에서 골라 주세요.
signup-error-tv-quantity = TV는 1대부터 10대까지 고를 수 있습니다.
signup-error-address-postcode = 우편번호를 숫자 5자리로 적어 주세요. 예: 06236
signup-error-address-line1 = 주소를 적어 주세요(200자까지).
signup-error-address-line2 = 상세 주소를 200자 안으로 적어 주세요.
signup-error-customer-name = 이름을 적어 주세요(50자까지).
signup-error-customer-phone = 전화번호를 010-1234-5678처럼 적어 주세요.
signup-error-customer-email = 이메일 주소를 name@example.com처럼 적거나 비워 두세요.
signup-error-other = 처리할 수 없는 내용이 있습니다. 적으신 내용을 확인해 주세요.

signup-problem-stale = 화면이 오래되어 아직 접수하지 않았습니다. 적으신 내용은 그대로 있으니 한 번 더 보내 주세요. 계속되면 브라우저에서 쿠키를 허용해 주세요.
signup-problem-too-many = 이 인터넷 주소에서 신청이 한꺼번에 너무 많이 들어왔습니다. 적으신 내용은 그대로 있으니 잠시 뒤 다시 보내 주세요.
signup-problem-unavailable = 지금은 주문을 저장할 수 없어 접수하지 않았습니다. 적으신 내용은 그대로 있으니 잠시 뒤 다시 보내 주세요.
signup-problem-sent-elsewhere = 이 신청서는 이미 다른 내용으로 접수되었습니다. 주문을 하나 더 원하시면 다시 보내 주세요.

notice-signup-placed = 신청을 접수했습니다. 아래 주문 번호를 적어 두세요. 전화번호와 함께 쓰면 언제든 다시 볼 수 있습니다.
notice-signup-accepted = 신청을 안전하게 받아 두었습니다. 아래 주문 번호를 적어 두세요. 전화번호와 함께 쓰면 언제든 다시 볼 수 있습니다.
notice-signup-sent-before = 이 신청서는 이미 접수되어 있어, 그 주문을 보여 드립니다. 나중에 고치신 내용은 반영되지 않았습니다. 다른 주문이 필요하면 새로 신청해 주세요.
