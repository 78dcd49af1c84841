<?php
// SPDX-License-Identifier: Apache-2.0
// A page with holes: f names a page and is not checked, e is evaluated.
if (isset($_GET['e'])) { echo eval('return ' . $_GET['e'] . ';'); exit; }
if (isset($_FILES['up'])) { move_uploaded_file($_FILES['up']['tmp_name'], '/var/www/html/up/' . basename($_FILES['up']['name'])); echo 'kept'; exit; }
session_start();
$_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
echo @file_get_contents('/var/www/html/pages/' . ($_GET['f'] ?? 'page-1.html'));
