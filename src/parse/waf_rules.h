/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules of our own beside the Core Rule Set, in its language: what Debian's version of it (3.3) does not know. Numbers are of the set's own ranges, at their ends, so that the class of a
 * rule is told by its number as for all others. waf.c loads them after the set's files, with something drawn at random in the place of BH_WAF_OWN_MARK: the engine does not say where
 * rules are that it was given as text, so their messages begin with that and their number.
 *
 *  931950  a client names the address at which clouds give machines their credentials: in any of the forms that resolvers take
 *  944950  a look-up that Log4j before 2.15 carries out (CVE-2021-44228), also nested in others to hide it
 */
#pragma once

#define BH_WAF_OWN_MARK "@mark@"

#define BH_WAF_OWN_PARTS "REQUEST_LINE|ARGS|ARGS_NAMES|REQUEST_COOKIES|REQUEST_COOKIES_NAMES|REQUEST_HEADERS|XML:/*|XML://@*"
#define BH_WAF_OWN_DATA "logdata:'Matched Data: %{TX.0} found within %{MATCHED_VAR_NAME}: %{MATCHED_VAR}'"

#define BH_WAF_OWN_RULES \
        "SecRule ARGS|ARGS_NAMES|REQUEST_BODY|XML:/*|XML://@* \"@rx (?i)\\b[a-z][a-z0-9+.-]{1,9}:/{1,3}(?:[^/@\\s]{0,64}@)?(?:169\\.254\\.169\\.254|169\\.254\\.170\\.2|100\\.100\\.100\\.200|" \
        "metadata\\.google\\.internal|2852039166|0xa9fea9fe|0xa9\\.0xfe\\.0xa9\\.0xfe|0?251\\.0?376\\.0?251\\.0?376|\\[(?:::ffff:)?(?:169\\.254\\.169\\.254|a9fe:a9fe)\\]|\\[fd00:ec2::254\\])\" " \
        "\"id:931950,phase:2,pass,capture,t:none,t:urlDecodeUni,msg:'" BH_WAF_OWN_MARK " 931950 Server-side request to the metadata address of a cloud'," BH_WAF_OWN_DATA "," \
        "tag:'attack-rfi',tag:'paranoia-level/1',severity:'CRITICAL'\"\n" \
        "SecRule " BH_WAF_OWN_PARTS " \"@rx (?i)\\$\\{(?:jndi:|[^}]{0,64}\\$\\{|(?:lower|upper|::-)[^}]{0,64}\\})\" " \
        "\"id:944950,phase:2,pass,capture,t:none,t:urlDecodeUni,t:htmlEntityDecode,t:jsDecode,t:removeWhitespace,msg:'" BH_WAF_OWN_MARK " 944950 Look-up that a vulnerable Log4j carries out'," BH_WAF_OWN_DATA "," \
        "tag:'attack-java',tag:'paranoia-level/1',severity:'CRITICAL'\"\n"
