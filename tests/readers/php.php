<?php
// What PHP makes of a request, as JSON. php.py starts it.
function found(array $values): array
{
    $pairs = [];
    foreach ($values as $name => $value) {
        $pairs[] = [(string) $name, is_string($value) ? $value : json_encode($value, JSON_INVALID_UTF8_SUBSTITUTE)];
    }
    return $pairs;
}

$headers = [];
foreach ($_SERVER as $name => $value) {
    if (str_starts_with($name, 'HTTP_')) {
        $headers[substr($name, 5)] = $value;
    }
}
parse_str($_SERVER['QUERY_STRING'] ?? '', $parsed);
echo json_encode(
    ['cookie' => found($_COOKIE), 'query' => found($_GET), 'parsed' => found($parsed), 'header' => found($headers)],
    JSON_INVALID_UTF8_SUBSTITUTE
);
