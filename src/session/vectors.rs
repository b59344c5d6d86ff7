//! Tokens and keys made once with Node's own `crypto`, whose private keys nobody has any more. The tokens' claims are
//! `iss` https://id.example.com, `aud` shop and other, `sub` ann, `jti` token-1, `nbf` 1700000000, `exp` 1900000000 and
//! `user.id` 7.

/// `rsa-1` and `ec-1`.
pub(super) const JWKS: &str = "\
    {\"keys\":[{\"kty\":\"RSA\",\"n\":\"je9mph35bJcq8uNC0f5p4OvBMmLIqzpkFs9CtyuDP63qEIaUMB4MnQaoQ_8le_vQ-HWUXFvv\
    zEfaBKEgEHN_V9sdkciRHcqG3DyGt1cisIMaQyFDR_DP1w3EV7uZSD8ZLKHwZ_NEd5fIOGnuGbtryhYuWbvDbBKcF3OjHxly8ML84lndsSJy\
    5FRFODTIiWOlrGg6boDT7K8AdeYNFG3Yoo95ZyqLUfkS6fszzhL0W1zDhRmm6orUf4UvP7Zevp_RGWKYf5LCqt7Lxz2_TnsE59Wc06hTZIR4\
    Zu12spSIPjAgjYes8FO649knqZDr_AjOwax4c6g5NkPS2qzCARnzVw\",\"e\":\"AQAB\",\"kid\":\"rsa-1\",\"use\":\"sig\",\"\
    alg\":\"RS256\"},{\"kty\":\"EC\",\"x\":\"Qc_MyN_DWD-34szJPpkwpkP91ztdS0SwnHRyriPs5Ao\",\"y\":\"BFp3cB5jILBXN\
    swr4TN1NgE_bYX3QguLKUA319ejm9I\",\"crv\":\"P-256\",\"kid\":\"ec-1\"}]}";

/// A key that is too short.
pub(super) const JWKS_OF_1024_BITS: &str = "\
    {\"keys\":[{\"kty\":\"RSA\",\"n\":\"tbFdFR9FwX1ecH1ckJfu2u-Nb0hfUW-xTFpC621_2shRk8GqhMa3u3GFnpdwLRb0GERNBSi9\
    MgOo6EberMeTqUrsy8BR7lAi1cHr3pAcRUFskchKyzN7snp2ismZxNSO4nFAgtWtSZEw5ekL-aksYm6m-gfZg8kqP6nTgw-zZhM\",\"e\":\
    \"AQAB\"}]}";

/// Signed with `keyboard cat`.
pub(super) const HS256: &str = "\
    eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUuY29tIiwiYXVkIjpbInNob3AiLCJvdGhlciJ\
    dLCJzdWIiOiJhbm4iLCJqdGkiOiJ0b2tlbi0xIiwibmJmIjoxNzAwMDAwMDAwLCJleHAiOjE5MDAwMDAwMDAsInVzZXIiOnsiaWQiOjd9fQ.\
    ZroUJHW_cTAfZgNhm32o23G0O0e4b_GsRzAR5cuu5i0";

/// Signed with `rsa-1`.
pub(super) const RS256: &str = "\
    eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InJzYS0xIn0.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUuY29tIiwiYXVkIjpb\
    InNob3AiLCJvdGhlciJdLCJzdWIiOiJhbm4iLCJqdGkiOiJ0b2tlbi0xIiwibmJmIjoxNzAwMDAwMDAwLCJleHAiOjE5MDAwMDAwMDAsInVz\
    ZXIiOnsiaWQiOjd9fQ.W0QWeQ6aHTWEFw4fl54xZzznCpaVq6uIst4EOY8fK4g7jNoskeqZZSkHOQFxdCmX2cdG3XxuLC8m9tOrSi3cdjVXD\
    gDXZcnqJKsn5G7fb-MF8HG8DFuPrtisV3pBtqc4kIDKj3_7QW2xQuWBE1XASOhhm7wOhS9Syklg4ZjbZzhD312dFq2fpIG609TgeLqYmhO7p\
    sK2_GeGw-TbcqnuA6cBFNaEyMhVTvbcUIJQBNYYEpAWfhWWQ4WScE3K_j8nDBPnCWxbTulEpgK3KTsxjonNQa2_ZjSQbbq_nWikvzc2Aq4p8\
    pF3b_OKdaJdwc8Y71DtBAPUP4-PwpcSjZazmw";

/// Signed with `ec-1`.
pub(super) const ES256: &str = "\
    eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImVjLTEifQ.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUuY29tIiwiYXVkIjpbI\
    nNob3AiLCJvdGhlciJdLCJzdWIiOiJhbm4iLCJqdGkiOiJ0b2tlbi0xIiwibmJmIjoxNzAwMDAwMDAwLCJleHAiOjE5MDAwMDAwMDAsInVzZ\
    XIiOnsiaWQiOjd9fQ.TwWl4jfAQ2S-N2AzNFfd60GBnwDNnGMc3VjxdYWzxU-t910nTqGLKb9Zve17wAkdG_l4KZ_x3fBgx0ocPXXrNg";

/// Signed with `rsa-1`, without saying so.
pub(super) const RS256_WITHOUT_KID: &str = "\
    eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUuY29tIiwiYXVkIjpbInNob3AiLCJvdGhlciJdLCJzdWIiOiJhbm4\
    iLCJqdGkiOiJ0b2tlbi0xIiwibmJmIjoxNzAwMDAwMDAwLCJleHAiOjE5MDAwMDAwMDAsInVzZXIiOnsiaWQiOjd9fQ.hCmKQ5g3BOgxz1l0\
    qVBOqShlklAeFzpttHhORZRt_lcMdWJiUO7-2I6A92Uv3V9wFwijS0xgyt0cUX5BlVN0m4L3M7p5hoGijYDE87VUyU6Jo68jjWm0UAuHT9nx\
    vAxYZm3ip3BleXaiEKsg_JGgvlYFyE_IRE4r1V2f8Ry_J7lHtWP5lhdImijF5w8ny0QhGjBBmz1y6j_qFZbOgG0IGPTzzsc6we3wRwQbWoYI\
    N5gR5w0jBDpV5fETHUS3MTwZSAdwPhWVkkpfuXmwiH8Zswfn3CowN191LClwW0s1fd00UTbSBmgcJN2c3-_D-6wab2RSg_cHZVpkW1LaZFVq\
    TA";

/// Signed with `rsa-1`, and said to be with `ec-1`.
pub(super) const RS256_WITH_KID_OF_ANOTHER: &str = "\
    eyJhbGciOiJSUzI1NiIsImtpZCI6ImVjLTEifQ.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUuY29tIiwiYXVkIjpbInNob3AiLCJvdGhlc\
    iJdLCJzdWIiOiJhbm4iLCJqdGkiOiJ0b2tlbi0xIiwibmJmIjoxNzAwMDAwMDAwLCJleHAiOjE5MDAwMDAwMDAsInVzZXIiOnsiaWQiOjd9f\
    Q.RRnms0AHDV9NkS6gdYhiGBTy8co3YtZivuhzjjgeUcgJf0zLgx1Gtix5N6VMwXSdOVCr2UKzXP3sKIw6Ec_mDyJPptnZXLRPpNR2c12_Nv\
    1N-qa-d-3J9sNDkIPetNe2hetC-PhpXIOu7KBzBGlDE57O5glWDTU5qH_okRScC5oEMFYDVDdKdT_vJcAsvcsz9zl6pVzConEJbSsqA-hJeA\
    o0qNwWPXUXKy5fyJMENJPxXXMB6J0E9BchE5Nq1QiQHU8xZwtIl_JzcJPjB7HC_ZD8ClZp00lUSpHm7vJWagH5V71sLdwUUP2H5894Nv3MS3\
    bGth1OZLAlF_J0lmNq8Q";

/// Signed with `ec-1`, the signature in DER.
pub(super) const ES256_IN_DER: &str = "\
    eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImVjLTEifQ.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUuY29tIiwiYXVkIjpbI\
    nNob3AiLCJvdGhlciJdLCJzdWIiOiJhbm4iLCJqdGkiOiJ0b2tlbi0xIiwibmJmIjoxNzAwMDAwMDAwLCJleHAiOjE5MDAwMDAwMDAsInVzZ\
    XIiOnsiaWQiOjd9fQ.MEUCIAbEbx8rZSJSSvC-dtrTxi4bx0nEJ6BNIhyvnCp7SESdAiEAx4ky46XvUokix2gfK9Wzc0LTuH4-9aDHfldE2S\
    t0qaE";

/// Signed with `rsa-1`, in the other padding.
pub(super) const PS256: &str = "\
    eyJhbGciOiJQUzI1NiIsImtpZCI6InJzYS0xIn0.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUuY29tIiwiYXVkIjpbInNob3AiLCJvdGhl\
    ciJdLCJzdWIiOiJhbm4iLCJqdGkiOiJ0b2tlbi0xIiwibmJmIjoxNzAwMDAwMDAwLCJleHAiOjE5MDAwMDAwMDAsInVzZXIiOnsiaWQiOjd9\
    fQ.HlJSuiJWZSos_g2bYKw7E36wJPqDCbIRfi01PeB5yY5ToHkTaoTUJMYG4oKZfmEphBbUXsVfBMVQDnkUb_cJTTz4Mh5PpsEhZEfkpxPyH\
    rXPzJ8dT_mtNFt4mj-i6mIxOutPd9ok-B__6j0vNz0KwBjhkmTFTvEh-rPcLdyI2NUcQJkfePo5nRSSxs8ppWe7IDjMO4fhi02r813kgFb-W\
    nMNVKjgUd0UPRhUWlVKQIh20oh4L9PKVueOnHdc_D2aQw3OTkZUHkY99quE8-P9PGngxTiREcz3k5oqyljW5-i82VVMwhLAD9i0faz5C2B6M\
    PRoduQ_zgonbIa7bxItNQ";

/// An HMAC keyed with the public key `rsa-1`, in PEM.
pub(super) const HS256_WITH_PUBLIC_KEY: &str = "\
    eyJhbGciOiJIUzI1NiIsImtpZCI6InJzYS0xIn0.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUuY29tIiwiYXVkIjpbInNob3AiLCJvdGhl\
    ciJdLCJzdWIiOiJhbm4iLCJqdGkiOiJ0b2tlbi0xIiwibmJmIjoxNzAwMDAwMDAwLCJleHAiOjE5MDAwMDAwMDAsInVzZXIiOnsiaWQiOjd9\
    fQ.ei_aJ0chO9k_1YxV3R90lAsXUPimIsCyY0b4Et5cquo";

/// An HMAC keyed with the modulus of `rsa-1`.
pub(super) const HS256_WITH_MODULUS: &str = "\
    eyJhbGciOiJIUzI1NiIsImtpZCI6InJzYS0xIn0.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUuY29tIiwiYXVkIjpbInNob3AiLCJvdGhl\
    ciJdLCJzdWIiOiJhbm4iLCJqdGkiOiJ0b2tlbi0xIiwibmJmIjoxNzAwMDAwMDAwLCJleHAiOjE5MDAwMDAwMDAsInVzZXIiOnsiaWQiOjd9\
    fQ.aWIklqdIIxYZDV5A3Kge3vjwr2mtIe_k1zZBuLxGop0";
