<?php
// The page a customer comes back to after paying: it asks payhook, never the address the customer came by.
//
// Try it: PAYHOOK_URL=http://127.0.0.1:8081 PAYHOOK_TOKEN=… php -S 127.0.0.1:8090 return.php, then open /?order=A-1001

declare(strict_types=1);

/** Seconds to wait for news. The provider's notification is often here before the customer is. */
const WAIT_S = 8;

/** Returns the order as payhook knows it, or null if there is none; waits for a version above $version. */
function order(string $id, int $version): ?array
{
    $url = rtrim((string) getenv('PAYHOOK_URL'), '/') . '/v1/orders/' . rawurlencode($id);
    $request = stream_context_create(['http' => [
        'header' => 'Authorization: Bearer ' . getenv('PAYHOOK_TOKEN'),
        'timeout' => WAIT_S + 5,
        'ignore_errors' => true,
    ]]);
    $answer = @file_get_contents($url . '?wait=' . WAIT_S . 's&version=' . $version, false, $request);
    $status = (int) explode(' ', $http_response_header[0] ?? '')[1] ?? 0;
    if ($status === 404) {
        return null;
    }
    if ($answer === false || $status !== 200) {
        throw new RuntimeException("payhook answered $status");
    }
    return json_decode($answer, true, flags: JSON_THROW_ON_ERROR);
}

/** Returns what the customer reads, and whether the page asks again. */
function words(?array $order): array
{
    return match ($order['state'] ?? null) {
        'paid', 'partly_refunded' => ['Thank you. Your payment arrived, and your parcel is being packed.', false],
        'refunded' => ['Your payment was refunded.', false],
        'authorized' => ['Your payment is authorized. We confirm it shortly.', false],
        // The customer has paid, or may have: never ask to pay again.
        'held' => ['We received your payment and are checking it. Please do not pay again; we write to you today.', false],
        'pending' => ['We are waiting for your bank. This page asks again by itself.', true],
        default => ['We do not know this order.', false],
    };
}

$id = $_GET['order'] ?? '';
try {
    $order = is_string($id) && $id !== '' ? order($id, (int) ($_GET['version'] ?? 0)) : null;
    [$text, $again] = words($order);
} catch (Throwable $error) {
    error_log('return page: ' . $error->getMessage());
    http_response_code(503);
    [$order, $text, $again] = [null, 'We cannot look up your payment right now. This page asks again by itself.', true];
}
$next = '?' . http_build_query(['order' => $id, 'version' => $order['version'] ?? 0]);
?>
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<?php if ($again): ?><meta http-equiv="refresh" content="2;url=<?= htmlspecialchars($next) ?>"><?php endif ?>
<title>Your order</title>
<p><?= htmlspecialchars($text) ?></p>
</html>
